// The counterpart of gc.c: the same tree, the same two goroutines that replace subtrees, the same sleeper;
// pauses from /gc/pauses:seconds, of the measured time only. Go has one mode.
package main

import (
	"math"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

const (
	subDepth = 9
	subtrees = 6144
)

type node struct {
	left, right *node
	payload     [5]uint64
}

var top [subtrees]*node
var finish, replaced int64

func grow(depth int, value uint64) *node {
	n := &node{}
	n.payload[0] = value
	if depth > 1 {
		n.left = grow(depth-1, value)
		n.right = grow(depth-1, value)
	}
	return n
}

func count(n *node, value uint64) int {
	if n == nil {
		return 0
	}
	if n.payload[0] != value {
		fail("a node of another tree")
	}
	return 1 + count(n.left, value) + count(n.right, value)
}

func churn(seed uint64, running *sync.WaitGroup) {
	defer running.Done()
	for atomic.LoadInt64(&finish) == 0 {
		seed = seed*6364136223846793005 + 1442695040888963407
		i := (seed >> 33) % subtrees
		top[i] = grow(subDepth, i)
		atomic.AddInt64(&replaced, 1)
	}
}

func read(name string) metrics.Value {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return sample[0].Value
}

func pauses() []uint64 {
	h := read("/gc/pauses:seconds").Float64Histogram()
	return append([]uint64(nil), h.Counts...)
}

// The upper edge of the bucket that holds the fraction q of the pauses since `before`.
func pause(before []uint64, q float64) float64 {
	h := read("/gc/pauses:seconds").Float64Histogram()
	var total, sum uint64
	for i, c := range h.Counts {
		total += c - before[i]
	}
	edge := 0.0
	for i, c := range h.Counts {
		sum += c - before[i]
		if c > before[i] {
			edge = h.Buckets[i+1]
			if math.IsInf(edge, 1) {
				edge = h.Buckets[i]
			}
		}
		if float64(sum) >= q*float64(total) && sum > 0 {
			break
		}
	}
	return edge
}

func run(words []string) {
	seconds := 5
	if len(words) > 0 {
		seconds = int(words[0][0] - '0')
	}
	for i := range top {
		top[i] = grow(subDepth, uint64(i))
	}
	before := pauses()
	cycles := read("/gc/cycles/total:gc-cycles").Uint64()
	var running sync.WaitGroup
	running.Add(3)
	go churn(1, &running)
	go churn(2, &running)
	var late []time.Duration
	go func() {
		defer running.Done()
		for atomic.LoadInt64(&finish) == 0 {
			due := time.Now().Add(time.Millisecond)
			time.Sleep(time.Millisecond)
			late = append(late, time.Since(due))
		}
	}()
	began := time.Now()
	time.Sleep(time.Duration(seconds) * time.Second)
	atomic.StoreInt64(&finish, 1)
	running.Wait()
	took := time.Since(began).Seconds()
	for i, t := range top {
		if count(t, uint64(i)) != 1<<subDepth-1 {
			fail("a tree of the wrong size")
		}
	}
	latencies("late", late)
	figure("pause_p99", pause(before, 0.99)*1e6, "us")
	figure("pause_max", pause(before, 1)*1e6, "us")
	figure("cycles", float64(read("/gc/cycles/total:gc-cycles").Uint64()-cycles)/took, "1/s")
	figure("nodes", float64(replaced)*511/took/1e6, "M/s")
	figure("rss", residentBytes()/1e6, "MB")
}

func main() {
	choose(map[string]func(words []string){"hybrid": run, "dijkstra": run, "stopped": run})
}
