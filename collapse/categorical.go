package collapse

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"

	"github.com/kelvin-ml/kelvin/thermo"
)

func workers(jobs int) int { return min(jobs, runtime.GOMAXPROCS(0)) }

// categorical is a distribution over classes.
type categorical struct {
	p       []float64
	classes int
}

// NewCategorical returns a world of classes that are equally probable, or whose
// probabilities fall like 1/rank (Zipf's law).
func NewCategorical(classes int, uniform bool) (*World, error) {
	if classes < 2 || classes > 1<<20 {
		return nil, fmt.Errorf("categorical: expected 2 to %d classes, got %d", 1<<20, classes)
	}
	p := make([]float64, classes)
	sum := 0.0
	for i := range p {
		p[i] = 1
		if !uniform {
			p[i] = 1 / float64(i+1)
		}
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	tail := tailOf(p)
	return &World{
		Name: "categorical", Truth: &categorical{p, classes}, Exact: true,
		New:  func() Model { return &categorical{classes: classes} },
		Tail: func(d Data, i int) bool { return tail[d.Tokens[i]] },
	}, nil
}

// tailOf marks the least probable classes, a tenth of the probability in all or
// the one class nearest to it.
func tailOf(p []float64) []bool {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if p[a] < p[b] {
			return -1
		} else if p[a] > p[b] {
			return 1
		}
		return b - a
	})
	tail := make([]bool, len(p))
	sum := 0.0
	for k, i := range order {
		if k > 0 && sum+p[i] > 0.1+1e-12 {
			break
		}
		sum += p[i]
		tail[i] = true
	}
	return tail
}

func (c *categorical) Fit(data Data, _ *rand.Rand) error {
	c.p = make([]float64, c.classes)
	for _, x := range data.Tokens {
		c.p[x] += 1 / float64(len(data.Tokens))
	}
	return nil
}

func (c *categorical) Sample(n int, temperature float64, r *rand.Rand) (Data, error) {
	cumulative := make([]float64, len(c.p))
	sum := 0.0
	for i, p := range tempered(c.p, temperature) {
		sum += p
		cumulative[i] = sum
	}
	d := Data{Width: 1, Tokens: make([]int32, n)}
	for i := range d.Tokens {
		k, _ := slices.BinarySearch(cumulative, r.Float64()*sum)
		for c.p[k] == 0 { // a draw at the very edge of an empty class
			k--
		}
		d.Tokens[i] = int32(k)
	}
	return d, nil
}

// tempered returns p^(1/τ), normalised.
func tempered(p []float64, t float64) []float64 {
	if t == 1 {
		return p
	}
	q := make([]float64, len(p))
	largest, sum := slices.Max(p), 0.0
	for i := range p {
		if p[i] > 0 {
			q[i] = math.Exp(math.Log(p[i]/largest) / t)
			sum += q[i]
		}
	}
	for i := range q {
		q[i] /= sum
	}
	return q
}

func (c *categorical) Entropy(*rand.Rand) float64 { return entropyOf(c.p) }

func entropyOf(p []float64) float64 {
	s := 0.0
	for _, x := range p {
		if x > 0 {
			s -= x * math.Log(x)
		}
	}
	return s
}

// Energy of classes that the model has lost is infinite.
func (c *categorical) Energy(data Data) float64 {
	e := 0.0
	for _, x := range data.Tokens {
		e -= math.Log(c.p[x]) / float64(len(data.Tokens))
	}
	return e
}

func (c *categorical) Temperature(data Data) float64 {
	energies, at := make([]float64, 0, len(c.p)), make([]int, len(c.p))
	for i, p := range c.p {
		if at[i] = len(energies); p > 0 {
			energies = append(energies, -math.Log(p))
		}
	}
	return likelihoodTemperature(func(yield func([]float64, int) bool) {
		for _, x := range data.Tokens {
			if !yield(energies, at[x]) {
				return
			}
		}
	})
}

// likelihoodTemperature is NaN where there is none.
func likelihoodTemperature(draws func(yield func([]float64, int) bool)) float64 {
	r, err := thermo.MaximumLikelihood(draws, 0)
	if err != nil || !r.Valid() {
		return math.NaN()
	}
	return r.Value
}

// Diversity is that of the model: the chance that two draws from it differ.
func (c *categorical) Diversity(Data) float64 {
	h := 1.0
	for _, x := range c.p {
		h -= x * x
	}
	return h
}

func (c *categorical) LogVariance(Data) float64 { return math.NaN() }
