package power

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// A Cost is what an activity costs as a function of its duration: convex, falling,
// linear between its points, impossible below the first and constant beyond the
// last.
type Cost struct {
	Time, Cost []float64 // s ascending, and J descending
}

// Hull is the lower convex hull of measured points up to the cheapest: what any
// duration costs when an activity may change its speed in between.
func Hull(times, costs []float64) (Cost, error) {
	order := make([]int, len(times))
	for i := range order {
		if !(times[i] > 0) || math.IsInf(times[i], 0) || math.IsNaN(costs[i]) || math.IsInf(costs[i], 0) {
			return Cost{}, fmt.Errorf("time %g s, cost %g J: expected a positive time and a finite cost", times[i], costs[i])
		}
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if times[a] != times[b] {
			if times[a] < times[b] {
				return -1
			}
			return 1
		}
		if costs[a] < costs[b] {
			return -1
		}
		return 1
	})
	var c Cost
	for _, i := range order {
		t, e := times[i], costs[i]
		n := len(c.Time)
		if n > 0 && e >= c.Cost[n-1] {
			continue // slower and no cheaper
		}
		for ; n > 1 && (c.Cost[n-2]-c.Cost[n-1])*(t-c.Time[n-1]) <= (c.Cost[n-1]-e)*(c.Time[n-1]-c.Time[n-2])*(1+1e-12); n-- {
			c.Time, c.Cost = c.Time[:n-1], c.Cost[:n-1]
		}
		c.Time, c.Cost = append(c.Time, t), append(c.Cost, e)
	}
	if len(c.Time) == 0 {
		return Cost{}, errors.New("expected measured points, got none")
	}
	return c, nil
}

// At returns the cost of a duration; +Inf below the shortest.
func (c Cost) At(t float64) float64 {
	n := len(c.Time)
	if t < c.Time[0]*(1-1e-9) {
		return math.Inf(1)
	}
	i, _ := slices.BinarySearch(c.Time, t)
	switch {
	case i == 0:
		return c.Cost[0]
	case i == n:
		return c.Cost[n-1]
	}
	x := (t - c.Time[i-1]) / (c.Time[i] - c.Time[i-1])
	return c.Cost[i-1]*(1-x) + c.Cost[i]*x
}

// slope is −dC/dt of the piece below point i: infinite below the first, 0 beyond
// the last.
func (c Cost) slope(i int) float64 {
	switch {
	case i == 0:
		return math.Inf(1)
	case i == len(c.Time):
		return 0
	}
	return (c.Cost[i-1] - c.Cost[i]) / (c.Time[i] - c.Time[i-1])
}
