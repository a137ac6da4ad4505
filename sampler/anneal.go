package sampler

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
)

// A Schedule gives the temperature of each step of annealing, from the share
// of it that is done (0 … 1).
type Schedule func(done float64) float64

// Geometric cools by an equal factor per step.
func Geometric(from, to float64) Schedule {
	return func(done float64) float64 { return from * math.Pow(to/from, done) }
}

// Linear cools by an equal amount per step.
func Linear(from, to float64) Schedule {
	return func(done float64) float64 { return from + (to-from)*done }
}

// Anneal takes steps of the kernel while the temperature follows the schedule,
// and returns the last state and the position of lowest energy that it met.
// Cancelling ctx ends it early, with what was reached and the error of ctx.
func Anneal(ctx context.Context, d Density, kernel Kernel, theta []float64, schedule Schedule, steps int, rng *rand.Rand) (last *State, best []float64, err error) {
	if steps < 1 {
		return nil, nil, fmt.Errorf("annealing: expected at least 1 step, got %d", steps)
	}
	d = at(d, schedule(0))
	s, err := kernel.Init(d, theta, schedule(0), rng)
	if err != nil {
		return nil, nil, fmt.Errorf("annealing: %w", err)
	}
	best, lowest := append([]float64(nil), s.Theta...), s.trueEnergy(d)
	for i := range steps {
		if err := ctx.Err(); err != nil {
			return s, best, err
		}
		from := s.Temperature
		s.Temperature = schedule(float64(i) / float64(max(steps-1, 1)))
		if !(s.Temperature > 0) || math.IsInf(s.Temperature, 0) {
			return nil, nil, fmt.Errorf("annealing: step %d: expected a temperature above 0, got %v", i, s.Temperature)
		}
		s.move(d, from)
		d = at(d, s.Temperature)
		if _, err := kernel.Step(d, s, rng); err != nil {
			return nil, nil, fmt.Errorf("annealing: %w", err)
		}
		if e := s.trueEnergy(d); e < lowest {
			lowest = e
			copy(best, s.Theta)
		}
	}
	return s, best, nil
}
