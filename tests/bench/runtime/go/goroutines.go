// The counterpart of goroutines.c.
package main

import (
	"runtime"
	"strconv"
	"sync"
	"time"
)

const (
	batch   = 1000
	batches = 2000
	yields  = 4000000
)

func spawnBatch() {
	var group sync.WaitGroup
	group.Add(batch)
	for i := 0; i < batch; i++ {
		go group.Done()
	}
	group.Wait()
}

func spawn(words []string) {
	for i := 0; i < batches/10; i++ {
		spawnBatch()
	}
	start := time.Now()
	for i := 0; i < batches; i++ {
		spawnBatch()
	}
	figure("spawn", float64(time.Since(start))/batch/batches, "ns")
}

func yieldAmong(count, each int) {
	var group sync.WaitGroup
	group.Add(count)
	for i := 0; i < count; i++ {
		go func() {
			for i := 0; i < each; i++ {
				runtime.Gosched()
			}
			group.Done()
		}()
	}
	group.Wait()
}

func yield(words []string) {
	count, err := strconv.Atoi(words[0])
	if err != nil {
		fail("%v", err)
	}
	yieldAmong(count, yields/count/10)
	start := time.Now()
	yieldAmong(count, yields/count)
	figure("yield", float64(time.Since(start))/yields, "ns")
}

func main() {
	choose(map[string]func([]string){"spawn": spawn, "yield": yield})
}
