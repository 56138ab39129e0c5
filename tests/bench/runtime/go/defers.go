// The counterpart of defers.c; `loop` is Go's linked list.
package main

import "time"

const thousands = 20000

//go:noinline
func count(counted *int64) { *counted++ }

//go:noinline
func deferEight(counted *int64) {
	defer count(counted)
	defer count(counted)
	defer count(counted)
	defer count(counted)
	defer count(counted)
	defer count(counted)
	defer count(counted)
	defer count(counted)
}

//go:noinline
func deferInALoop(counted *int64) {
	for i := 0; i < 1000; i++ {
		defer count(counted)
	}
}

func measure(fn func(*int64), calls int) {
	var counted int64
	var begun time.Time
	for i := -thousands / 10; i < thousands; i++ {
		if i == 0 {
			begun = time.Now()
		}
		for k := 0; k < calls; k++ {
			fn(&counted)
		}
	}
	figure("thousand", float64(time.Since(begun))/thousands/1e3, "us")
	if counted != (thousands+thousands/10)*1000 {
		fail("%d deferred calls were made", counted)
	}
}

func caught() {
	defer func() { recover() }()
	panic("falls")
}

func main() {
	choose(map[string]func([]string){
		"few":  func(words []string) { measure(deferEight, 125) },
		"loop": func(words []string) { measure(deferInALoop, 1) },
		"panic": func(words []string) {
			const times = 1000000
			begun := time.Now()
			for i := 0; i < times; i++ {
				caught()
			}
			figure("panic", float64(time.Since(begun))/times, "ns")
		},
	})
}
