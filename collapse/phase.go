package collapse

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat/distuv"
)

// A PhasePoint is the loop of equally probable classes at one temperature and
// share of fresh data, from both pasts.
type PhasePoint struct {
	Temperature, Fresh float64
	FromUniform        float64 // order (n p_max − 1)/(n − 1) of the last generation: 0 uniform, 1 one class
	FromCollapsed      float64
}

// ordered is the order from which on a state counts as collapsed.
const ordered = 0.2

// phaseGenerations is how long a point runs: near a boundary a loop is slow.
const phaseGenerations = 400

// PhaseDiagram simulates the loop of classes at every temperature and share of
// fresh data, samples replacing each other, from the uniform state and from one
// class alone. Where the two ends differ the loop has two stable states.
func PhaseDiagram(ctx context.Context, classes, samples int, temperatures, fresh []float64, seed uint64, progress func(done, total int)) ([]PhasePoint, error) {
	if classes < 2 || samples < 10*classes {
		return nil, fmt.Errorf("phase diagram: expected at least 2 classes and ten samples of each, got %d and %d", classes, samples)
	}
	var points []PhasePoint
	for i, t := range temperatures {
		for j, mu := range fresh {
			if err := ctx.Err(); err != nil {
				return points, err
			}
			r := rand.New(rand.NewPCG(seed, uint64(i*len(fresh)+j)))
			p := PhasePoint{Temperature: t, Fresh: mu}
			p.FromUniform = follow(classes, samples, t, mu, false, r)
			p.FromCollapsed = follow(classes, samples, t, mu, true, r)
			points = append(points, p)
			if progress != nil {
				progress(len(points), len(temperatures)*len(fresh))
			}
		}
	}
	return points, nil
}

// follow runs one loop and returns the order it ends with.
func follow(classes, samples int, t, mu float64, collapsed bool, r *rand.Rand) float64 {
	p := make([]float64, classes)
	for i := range p {
		p[i] = 1 / float64(classes)
		if collapsed {
			p[i] = 0
		}
	}
	if collapsed {
		p[0] = 1
	}
	n := int(math.Round(float64(samples) * (1 + mu)))
	mean := 0.0
	for g := range phaseGenerations {
		q := tempered(p, t)
		for i := range q {
			q[i] = (q[i] + mu/float64(classes)) / (1 + mu)
		}
		p = multinomial(n, q, r)
		if g >= phaseGenerations/2 {
			mean += (float64(classes)*floats.Max(p) - 1) / float64(classes-1) / (phaseGenerations / 2)
		}
	}
	return mean
}

// multinomial returns the shares of n draws, one binomial after the other.
func multinomial(n int, p []float64, r *rand.Rand) []float64 {
	shares := make([]float64, len(p))
	left, rest := n, 1.0
	for i, x := range p {
		if left == 0 {
			break
		}
		k := left
		if i < len(p)-1 {
			k = int(distuv.Binomial{N: float64(left), P: math.Min(x/math.Max(rest, x), 1), Src: r}.Rand())
		}
		shares[i] = float64(k) / float64(n)
		left -= k
		rest -= x
	}
	return shares
}

// Boundaries returns, at every temperature, the least share of fresh data that was
// simulated from which on the uniform state holds, and the least from which on no
// collapsed one survives; +Inf if there is none.
func Boundaries(points []PhasePoint, temperature float64) (uniform, collapsed float64) {
	uniform, collapsed = math.Inf(1), math.Inf(1)
	for _, p := range points {
		if p.Temperature != temperature {
			continue
		}
		if p.FromUniform < ordered {
			uniform = math.Min(uniform, p.Fresh)
		}
		if p.FromCollapsed < ordered {
			collapsed = math.Min(collapsed, p.Fresh)
		}
	}
	return uniform, collapsed
}
