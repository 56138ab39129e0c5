// What the Go programs share: printing figures as run.py reads them.
package main

import (
	"fmt"
	"os"
	"sort"
	"time"
)

func figure(name string, value float64, unit string) { fmt.Printf("%s %.9g %s\n", name, value, unit) }

func fail(format string, args ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	i := int(q * float64(len(sorted)))
	if i >= len(sorted) {
		i = len(sorted) - 1
	}
	return sorted[i]
}

// latencies sorts and prints NAME_p50, NAME_p99 and NAME_max in microseconds.
func latencies(name string, late []time.Duration) {
	sort.Slice(late, func(i, j int) bool { return late[i] < late[j] })
	figure(name+"_p50", float64(quantile(late, 0.5))/1e3, "us")
	figure(name+"_p99", float64(quantile(late, 0.99))/1e3, "us")
	figure(name+"_max", float64(quantile(late, 1))/1e3, "us")
}

// residentBytes of this process.
func residentBytes() float64 {
	var size, rss float64
	text, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(string(text), &size, &rss)
	}
	if err != nil {
		fail("cannot read /proc/self/statm: %v", err)
	}
	return rss * 4096
}

// choose runs the work that the first argument names.
func choose(works map[string]func(words []string)) {
	if len(os.Args) > 1 {
		if work, ok := works[os.Args[1]]; ok {
			work(os.Args[2:])
			return
		}
	}
	fail("usage: %s WORK", os.Args[0])
}
