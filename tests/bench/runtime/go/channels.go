// The counterpart of channels.c.
package main

import "time"

func pingpong(words []string) {
	const rounds = 2000000
	there, back := make(chan int64), make(chan int64)
	go func() {
		for v := range there {
			back <- v + 1
		}
	}()
	var value int64
	var begun time.Time
	for i := -rounds / 10; i < rounds; i++ {
		if i == 0 {
			begun = time.Now()
		}
		there <- value
		value = <-back
	}
	figure("roundtrip", float64(time.Since(begun))/rounds, "ns")
	if value != rounds+rounds/10 {
		fail("%d answers", value)
	}
}

func consume(count int64) (sum int64) {
	c := make(chan int64, 100)
	go func() {
		for i := int64(0); i < count; i++ {
			c <- i
		}
		close(c)
	}()
	for v := range c {
		sum += v
	}
	return sum
}

func buffered(words []string) {
	const items = 10000000
	consume(items / 10)
	begun := time.Now()
	sum := consume(items)
	figure("item", float64(time.Since(begun))/items, "ns")
	if sum != items*(items-1)/2 {
		fail("the items add up to %d", sum)
	}
}

func alone(words []string) {
	const items = 10000000
	c := make(chan int64, 1)
	var sum int64
	begun := time.Now()
	for i := int64(0); i < items; i++ {
		c <- i
		sum += <-c
	}
	figure("item", float64(time.Since(begun))/items, "ns")
	if sum != items*(items-1)/2 {
		fail("the items add up to %d", sum)
	}
}

func fan(capacity int) (ways [4]chan int64) {
	for i := range ways {
		ways[i] = make(chan int64, capacity)
	}
	return ways
}

func take(ways *[4]chan int64) (int, int64) {
	select {
	case v := <-ways[0]:
		return 0, v
	case v := <-ways[1]:
		return 1, v
	case v := <-ways[2]:
		return 2, v
	case v := <-ways[3]:
		return 3, v
	}
}

func selectReady(words []string) {
	const items = 5000000
	ways := fan(1)
	begun := time.Now()
	for i := int64(0); i < items; i++ {
		ways[i%4] <- i
		if way, v := take(&ways); way != int(i%4) || v != i {
			fail("a select took the wrong case")
		}
	}
	figure("select", float64(time.Since(begun))/items, "ns")
}

func selectBlocking(words []string) {
	const items = 2000000
	ways := fan(0)
	go func() {
		for i := int64(0); i < items; i++ {
			ways[i%4] <- i
		}
	}()
	begun := time.Now()
	for i := int64(0); i < items; i++ {
		if way, v := take(&ways); way != int(i%4) || v != i {
			fail("a select took the wrong case")
		}
	}
	figure("select", float64(time.Since(begun))/items, "ns")
}

func selectDefault(words []string) {
	const rounds = 5000000
	ways := fan(0)
	begun := time.Now()
	for i := 0; i < rounds; i++ {
		select {
		case <-ways[0]:
			fail("something")
		case <-ways[1]:
			fail("something")
		case <-ways[2]:
			fail("something")
		case <-ways[3]:
			fail("something")
		default:
		}
	}
	figure("select", float64(time.Since(begun))/rounds, "ns")
}

func main() {
	choose(map[string]func([]string){
		"pingpong": pingpong, "buffered": buffered, "alone": alone, "select_ready": selectReady,
		"select_blocking": selectBlocking, "select_default": selectDefault,
	})
}
