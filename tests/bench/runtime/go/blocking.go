// The counterpart of blocking.c.
package main

import (
	"sort"
	"sync/atomic"
	"syscall"
	"time"
)

func handoff(words []string) {
	const times = 400
	after := make([]time.Duration, times)
	var fds [2]int
	if err := syscall.Pipe(fds[:]); err != nil {
		fail("%v", err)
	}
	start := time.Now()
	one := make([]byte, 1)
	for i := range after {
		var ran int64
		go func() {
			atomic.StoreInt64(&ran, int64(time.Since(start)))
			if _, err := syscall.Write(fds[1], []byte("x")); err != nil {
				fail("%v", err)
			}
		}()
		begun := time.Since(start)
		if n, err := syscall.Read(fds[0], one); n != 1 || err != nil {
			fail("%v", err)
		}
		after[i] = time.Duration(atomic.LoadInt64(&ran)) - begun
		time.Sleep(time.Millisecond)
	}
	latencies("handoff", after)
}

func bareCalls(times int) time.Duration {
	begun := time.Now()
	for i := 0; i < times; i++ {
		syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0)
	}
	return time.Since(begun)
}

func blockingCalls(times int) time.Duration {
	begun := time.Now()
	for i := 0; i < times; i++ {
		syscall.Syscall(syscall.SYS_GETPPID, 0, 0, 0)
	}
	return time.Since(begun)
}

func call(words []string) {
	const turns, times = 41, 50000
	var bare, whole []time.Duration
	for i := 0; i < turns; i++ {
		bare = append(bare, bareCalls(times))
		whole = append(whole, blockingCalls(times))
	}
	sort.Slice(bare, func(i, j int) bool { return bare[i] < bare[j] })
	sort.Slice(whole, func(i, j int) bool { return whole[i] < whole[j] })
	bareNs := float64(quantile(bare, 0.5)) / times
	wholeNs := float64(quantile(whole, 0.5)) / times
	figure("bare", bareNs, "ns")
	figure("whole", wholeNs, "ns")
	figure("added", wholeNs-bareNs, "ns")
}

func main() {
	choose(map[string]func([]string){"handoff": handoff, "call": call})
}
