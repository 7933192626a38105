package testproc

import (
	"runtime"
	"sync"
	"time"
)

// SpareThreads makes more threads than proc.MakeThreads and the Go runtime can want of a
// program that is about to have no room for another one.
func SpareThreads() {
	var made sync.WaitGroup
	made.Add(40)
	for range 40 {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			made.Done()
			made.Wait()
		}()
	}
	made.Wait()
	time.Sleep(100 * time.Millisecond) // until they are idle
}
