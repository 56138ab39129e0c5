// alloc.c's work in Go: blocks of a ring are dropped for the collector.
package main

import (
	"os"
	"strconv"
	"sync"
	"time"
)

const ringBlocks = 256

func main() {
	workers := 1
	if len(os.Args) > 2 {
		workers, _ = strconv.Atoi(os.Args[2])
	}
	sizes := []struct {
		name         string
		bytes, pairs int
	}{{"b16", 16, 24000000}, {"b64", 64, 24000000}, {"b1024", 1024, 4000000}, {"b16384", 16384, 500000}}
	for _, s := range sizes {
		run := func(pairs int) time.Duration {
			var group sync.WaitGroup
			begun := time.Now()
			for w := 0; w < workers; w++ {
				group.Add(1)
				go func() {
					defer group.Done()
					ring := make([][]byte, ringBlocks)
					for i := 0; i < pairs/workers; i++ {
						b := make([]byte, s.bytes)
						b[0] = byte(i)
						b[s.bytes-1] = byte(i)
						ring[i%ringBlocks] = b
					}
				}()
			}
			group.Wait()
			return time.Since(begun)
		}
		run(s.pairs / 8)
		figure(s.name, float64(run(s.pairs))/float64(s.pairs), "ns")
	}
}
