// The counterpart of hogs.c.
package main

import (
	"runtime"
	"sort"
	"sync/atomic"
	"time"
)

func tick(words []string) {
	const ticks, grid = 250, 10 * time.Millisecond
	late := make([]time.Duration, ticks)
	var stop int32
	for i := 0; i < runtime.GOMAXPROCS(0); i++ {
		go func() {
			for atomic.LoadInt32(&stop) == 0 {
			}
		}()
	}
	start := time.Now()
	for i := range late {
		until := (time.Since(start)/grid + 1) * grid
		time.Sleep(until - time.Since(start))
		late[i] = time.Since(start) - until
	}
	atomic.StoreInt32(&stop, 1)
	latencies("late", late)
}

var sink uint64

//go:noinline
func compute(rounds int64) {
	x := uint64(1)
	for i := int64(0); i < rounds; i++ {
		x = x*6364136223846793005 + uint64(i)
	}
	sink = x
}

func oneSleeper(asleepFirst bool, rounds int64) time.Duration {
	var ran int64
	start := time.Now()
	go func() {
		time.Sleep(10 * time.Millisecond)
		atomic.StoreInt64(&ran, int64(time.Since(start)))
	}()
	if asleepFirst {
		runtime.Gosched()
	}
	begun := time.Since(start)
	compute(rounds)
	for atomic.LoadInt64(&ran) == 0 {
		runtime.Gosched()
	}
	return time.Duration(ran) - begun
}

func article(words []string) {
	const times, trial = 7, 3000000
	begun := time.Now()
	compute(trial)
	rounds := int64(trial * float64(300*time.Millisecond) / float64(time.Since(begun)))
	for _, asleepFirst := range []bool{true, false} {
		ran := make([]time.Duration, times)
		for i := range ran {
			ran[i] = oneSleeper(asleepFirst, rounds)
		}
		sort.Slice(ran, func(i, j int) bool { return ran[i] < ran[j] })
		name := "unstarted"
		if asleepFirst {
			name = "asleep"
		}
		figure(name, float64(quantile(ran, 0.5))/1e6, "ms")
	}
}

func main() {
	choose(map[string]func([]string){"tick": tick, "article": article})
}
