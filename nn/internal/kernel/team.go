package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// team is the threads that help a caller. They start when first needed, at most
// GOMAXPROCS−1, and then wait for the next product. One product at a time is
// divided: a caller who finds the team busy works alone.
var team struct {
	sync.Mutex
	size    int           // helpers started
	wake    chan struct{} // a token for each helper that should look at job
	working sync.WaitGroup
	job     product
	next    atomic.Int64 // part of job to be taken next
}

// mostHelpers bounds the team.
const mostHelpers = 255

// parallel computes g with the team's help, or returns false where there is none
// to be had.
func parallel(g *product) bool {
	parts := min(runtime.GOMAXPROCS(0), mostHelpers+1)
	if parts == 1 || !team.TryLock() {
		return false
	}
	defer team.Unlock()
	if team.wake == nil {
		team.wake = make(chan struct{}, mostHelpers)
	}
	for ; team.size < parts-1; team.size++ {
		go help()
	}
	team.job = *g
	team.job.parts = parts
	team.next.Store(0)
	team.working.Add(parts - 1)
	for range parts - 1 {
		team.wake <- struct{}{}
	}
	takeParts()
	for { // Helpers that have not woken up are not needed any more.
		select {
		case <-team.wake:
			team.working.Done()
			continue
		default:
		}
		break
	}
	team.working.Wait()
	team.job = product{} // keep nothing of the caller's alive
	return true
}

func help() {
	for range team.wake {
		takeParts()
		team.working.Done()
	}
}

func takeParts() {
	for {
		i := int(team.next.Add(1)) - 1
		if i >= team.job.parts {
			return
		}
		team.job.part(i)
	}
}
