package collapse

import (
	"errors"
	"math"
	"math/rand/v2"
)

// gaussian is a normal distribution on the line.
type gaussian struct{ mean, variance float64 }

// NewGaussian returns the world N(0, 1), refitted by maximum likelihood.
func NewGaussian() *World {
	return &World{
		Name: "gaussian", Truth: &gaussian{0, 1}, Exact: true,
		New:  func() Model { return &gaussian{} },
		Tail: func(d Data, i int) bool { return math.Abs(d.X[i]) > 1.6448536269514722 },
	}
}

func (g *gaussian) Fit(data Data, _ *rand.Rand) error {
	g.mean, g.variance = 0, 0
	for i, x := range data.X {
		d := x - g.mean
		g.mean += d / float64(i+1)
		g.variance += d * (x - g.mean)
	}
	if g.variance /= float64(len(data.X)); !(g.variance > 0) {
		return errors.New("gaussian: all numbers are one: nothing is left to vary")
	}
	return nil
}

func (g *gaussian) Sample(n int, temperature float64, r *rand.Rand) (Data, error) {
	d := Data{Width: 1, X: make([]float64, n)}
	s := math.Sqrt(g.variance * temperature)
	for i := range d.X {
		d.X[i] = g.mean + s*r.NormFloat64()
	}
	return d, nil
}

func (g *gaussian) Entropy(*rand.Rand) float64 { return 0.5 * math.Log(2*math.Pi*math.E*g.variance) }

func (g *gaussian) Energy(data Data) float64 {
	return 0.5*math.Log(2*math.Pi*g.variance) + 0.5*g.Temperature(data)
}

// Temperature is ⟨(x − m)²⟩/σ²: the virial one, and the most likely.
func (g *gaussian) Temperature(data Data) float64 {
	sum := 0.0
	for _, x := range data.X {
		sum += (x - g.mean) * (x - g.mean)
	}
	return sum / float64(len(data.X)) / g.variance
}

// Diversity is the standard deviation of the model: the world's is 1.
func (g *gaussian) Diversity(Data) float64 { return math.Sqrt(g.variance) }

// LogVariance is that of the model.
func (g *gaussian) LogVariance(Data) float64 { return math.Log(g.variance) }
