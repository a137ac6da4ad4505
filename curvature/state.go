package curvature

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/thermo"
)

// A State is what gradients show of a network at its parameters.
type State struct {
	Energy        float64   // mean loss of the examples, and weight decay
	Losses        []float64 // of every example, weight decay not included
	GradientNorm2 []float64 // |∇_l E|² of every layer
	Noise         []float64 // tr C_l of every layer: C is the covariance of the examples' gradients
	NoiseError    float64   // standard error of Σ tr C_l over examples
}

// Look evaluates a network on the examples of the batches.
func Look[T nn.Float](network *nn.Network[T], batches []nn.Batch[T]) (State, error) {
	var s State
	var obs nn.Observation
	total := 0
	for _, b := range batches {
		total += b.N
	}
	if total < 2 {
		return s, fmt.Errorf("curvature: %d examples, expected at least two", total)
	}
	gradient := make([]float64, len(network.Params))
	squares := make([]moments, len(network.Groups)+1) // |g_i|² of every layer, and of all
	for _, b := range batches {
		energy, err := network.Backward(b, &obs)
		if err != nil {
			return s, err
		}
		share := float64(b.N) / float64(total)
		s.Energy += share * energy
		s.Losses = append(s.Losses, obs.Loss...)
		for i, g := range network.Grad {
			gradient[i] += share * float64(g)
		}
		for i := range b.N {
			whole := 0.0
			for g := range network.Groups {
				squares[g].add(obs.GradNorm2[g][i])
				whole += obs.GradNorm2[g][i]
			}
			squares[len(network.Groups)].add(whole)
		}
	}
	n := float64(total)
	for g, group := range network.Groups {
		var all, data float64
		for i := group.Offset; i < group.Offset+group.Size; i++ {
			d := gradient[i] - network.Spec.WeightDecay*float64(network.Params[i])
			all += gradient[i] * gradient[i]
			data += d * d
		}
		s.GradientNorm2 = append(s.GradientNorm2, all)
		s.Noise = append(s.Noise, max(0, n/(n-1)*(squares[g].mean-data)))
	}
	all := squares[len(network.Groups)]
	s.NoiseError = math.Sqrt(all.squares / (n - 1) / n)
	return s, nil
}

// NoiseTemperature returns η tr C/(2Bk(1−μ)), the temperature that the noise of
// minibatches of B examples sustains in gradient descent with learning rate η
// and momentum μ, in energy per nat. It fails unless all are in their ranges.
func (s State) NoiseTemperature(learningRate, momentum float64, batch, parameters int) (thermo.Reading, error) {
	if !(learningRate > 0) || !(momentum >= 0 && momentum < 1) || batch < 1 || parameters < 1 {
		return thermo.Reading{}, fmt.Errorf("noise temperature: learning rate %g, momentum %g, batch %d: expected positive numbers, and a momentum below 1",
			learningRate, momentum, batch)
	}
	factor := learningRate / (2 * float64(batch) * float64(parameters) * (1 - momentum))
	n := float64(len(s.Losses))
	return thermo.Reading{Name: "sgd noise", Unit: "energy/nat", Value: factor * pick(s.Noise, -1), StdErr: factor * s.NoiseError, ESS: n, DoF: n - 1}, nil
}

// Difference returns the energy of t less that of s, which has seen the same
// examples, with the error of the choice of the examples.
func (s State) Difference(t State) (thermo.Reading, error) {
	if len(s.Losses) != len(t.Losses) {
		return thermo.Reading{}, fmt.Errorf("energies of %d and %d examples are not to be compared pair by pair", len(s.Losses), len(t.Losses))
	}
	r := thermo.Reading{Name: "energy", Unit: "energy", Value: t.Energy - s.Energy}
	r.StdErr, r.ESS, r.DoF = pairedError(s.Losses, t.Losses)
	return r, nil
}

func pairedError(a, b []float64) (stderr, n, freedom float64) {
	var m moments
	for i := range a {
		m.add(b[i] - a[i])
	}
	return math.Sqrt(m.squares / (m.n - 1) / m.n), m.n, m.n - 1
}

// A PathPoint is the energy at a place between two sets of parameters.
type PathPoint struct {
	Place  float64 `json:"place"` // 0 at a, 1 at b
	Energy float64 `json:"energy"`
}

// A Path is the energy along the straight line between two sets of parameters.
type Path struct {
	Points  []PathPoint
	Place   float64        // of the top
	Barrier thermo.Reading // the top less the higher end; 0 if that is the top
}

// Line evaluates the energy at evenly spaced points between the parameters (and
// running statistics) of a and b, two networks of one Spec, and finds the top to
// a thousandth of the way. The error of the barrier is that of the choice of the
// examples.
func Line[T nn.Float](ctx context.Context, a, b *nn.Network[T], batches []nn.Batch[T], points int) (Path, error) {
	if len(a.Params) != len(b.Params) || len(a.State) != len(b.State) || points < 3 {
		return Path{}, fmt.Errorf("line: networks of %d and %d parameters, %d points: expected one network and at least 3 points", len(a.Params), len(b.Params), points)
	}
	l := line[T]{a: a, b: b, between: a.Clone(), batches: batches}
	var p Path
	top := 0
	for i := range points {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		place := float64(i) / float64(points-1)
		energy, err := l.at(place)
		if err != nil {
			return p, err
		}
		p.Points = append(p.Points, PathPoint{place, energy})
		if energy > p.Points[top].Energy {
			top = i
		}
	}
	p.Place = p.Points[top].Place
	if top > 0 && top < points-1 {
		low, high := p.Points[top-1].Place, p.Points[top+1].Place
		for high-low > 1e-3 { // golden section
			golden := (math.Sqrt(5) - 1) / 2
			left, right := high-golden*(high-low), low+golden*(high-low)
			atLeft, err := l.at(left)
			if err != nil {
				return p, err
			}
			atRight, err := l.at(right)
			if err != nil {
				return p, err
			}
			if atLeft > atRight {
				high = right
			} else {
				low = left
			}
		}
		p.Place = (low + high) / 2
	}
	return p, l.barrier(&p)
}

type line[T nn.Float] struct {
	a, b, between *nn.Network[T]
	batches       []nn.Batch[T]
	losses        []float64 // of the last place
}

func (l *line[T]) at(place float64) (float64, error) {
	mix := func(to, a, b []T) {
		for i := range to {
			to[i] = T((1-place)*float64(a[i]) + place*float64(b[i]))
		}
	}
	mix(l.between.Params, l.a.Params, l.b.Params)
	mix(l.between.State, l.a.State, l.b.State)
	l.between.Spec.WeightDecay = (1-place)*l.a.Spec.WeightDecay + place*l.b.Spec.WeightDecay
	l.losses = l.losses[:0]
	energy := 0.0
	for _, b := range l.batches {
		e, err := l.between.Energy(b)
		if err != nil {
			return 0, fmt.Errorf("at %.3g of the way: %w", place, err)
		}
		energy += e * float64(b.N)
		l.losses = append(l.losses, l.between.Losses()...)
	}
	return energy / float64(len(l.losses)), nil
}

func (l *line[T]) barrier(p *Path) error {
	end := 0.0
	if p.Points[len(p.Points)-1].Energy > p.Points[0].Energy {
		end = 1
	}
	below, err := l.at(end)
	if err != nil {
		return err
	}
	losses := slices.Clone(l.losses)
	above, err := l.at(p.Place)
	if err != nil {
		return err
	}
	p.Barrier = thermo.Reading{Name: "barrier", Unit: "energy", Value: max(0, above-below)}
	if p.Barrier.Value > 0 {
		p.Barrier.StdErr, p.Barrier.ESS, p.Barrier.DoF = pairedError(losses, l.losses)
	}
	return nil
}
