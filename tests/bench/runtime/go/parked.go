// The counterpart of parked.c; Go has one form.
package main

import (
	"strconv"
	"sync"
	"time"
)

func park(words []string) {
	count := 1000000
	if len(words) > 0 {
		count, _ = strconv.Atoi(words[0])
	}
	gate := make(chan int)
	var started, ended sync.WaitGroup
	started.Add(count)
	ended.Add(count)
	before := residentBytes()
	start := time.Now()
	for i := 0; i < count; i++ {
		go func() {
			started.Done()
			if _, open := <-gate; open {
				panic("nobody sends")
			}
			ended.Done()
		}()
	}
	started.Wait()
	figure("create", float64(time.Since(start))/float64(count), "ns")
	time.Sleep(900 * time.Millisecond)
	figure("resident", float64(residentBytes()-before)/float64(count), "B")
	start = time.Now()
	close(gate)
	ended.Wait()
	figure("wake", float64(time.Since(start))/float64(count), "ns")
}

func main() {
	choose(map[string]func([]string){"plain": park, "spilled": park})
}
