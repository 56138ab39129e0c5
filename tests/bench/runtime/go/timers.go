// The counterpart of timers.c.
package main

import (
	"runtime"
	"strconv"
	"time"
)

func number(words []string) int {
	n, err := strconv.Atoi(words[0])
	if err != nil {
		fail("%v", err)
	}
	return n
}

func sleepers(words []string) {
	count := number(words)
	before := residentBytes()
	begun := time.Now()
	for i := 0; i < count; i++ {
		go time.Sleep(time.Hour)
	}
	runtime.Gosched()
	for runtime.NumGoroutine() < count+1 {
		runtime.Gosched()
	}
	figure("create", float64(time.Since(begun))/float64(count), "ns")
	time.Sleep(900 * time.Millisecond)
	figure("resident", (residentBytes()-before)/float64(count), "B")
}

func late(words []string) {
	const sleeps = 2000
	asked := time.Duration(number(words)) * time.Microsecond
	late := make([]time.Duration, sleeps)
	for i := range late {
		begun := time.Now()
		time.Sleep(asked)
		late[i] = time.Since(begun) - asked
	}
	latencies("late", late)
}

func arm(words []string) {
	count := number(words)
	timers := make([]*time.Timer, count)
	begun := time.Now()
	random := uint32(1)
	for i := range timers {
		random = random*1664525 + 1013904223
		timers[i] = time.AfterFunc(time.Hour+time.Duration(random), func() { fail("a timer of an hour has fired") })
	}
	figure("start", float64(time.Since(begun))/float64(count), "ns")
	begun = time.Now()
	for i := range timers {
		if !timers[i].Stop() {
			fail("a timer could not be stopped")
		}
	}
	figure("stop", float64(time.Since(begun))/float64(count), "ns")
}

func main() {
	choose(map[string]func([]string){"sleepers": sleepers, "late": late, "arm": arm})
}
