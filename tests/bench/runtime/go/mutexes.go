// The counterpart of mutexes.c.
package main

import (
	"sync"
	"time"
)

const rounds = 20000000

type counter struct {
	lock  sync.Mutex
	value uint64
}

func countWith(goroutines, rounds int, name string) {
	var group sync.WaitGroup
	c := &counter{}
	group.Add(goroutines)
	begun := time.Now()
	for i := 0; i < goroutines; i++ {
		go func() {
			for i := 0; i < rounds/goroutines; i++ {
				c.lock.Lock()
				c.value++
				c.lock.Unlock()
			}
			group.Done()
		}()
	}
	group.Wait()
	if name != "" {
		figure(name, float64(time.Since(begun))/float64(rounds), "ns")
	}
	if c.value != uint64(rounds) {
		fail("counted to %d instead of %d", c.value, rounds)
	}
}

func main() {
	choose(map[string]func([]string){
		"alone":     func(words []string) { countWith(1, rounds/10, ""); countWith(1, rounds, "mutex") },
		"contended": func(words []string) { countWith(2, rounds/10, ""); countWith(2, rounds, "mutex") },
	})
}
