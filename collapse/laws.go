package collapse

import (
	"fmt"
	"math"

	"github.com/kelvin-ml/kelvin/thermo"
	"gonum.org/v1/gonum/mathext"
)

// A Law is what theory expects of a quantity in every generation.
type Law struct {
	Quantity string // diversity, log variance, entropy
	Name     string
	Exact    bool      // else of infinitely many samples
	Values   []float64 // by generation, from 0 on
}

// Laws returns what is known of the loop of a world: exactly where samples are at
// temperature 1 and nothing is fresh, and for infinitely many samples of categories
// otherwise.
func Laws(w *World, c Config) []Law {
	plain := c.Temperature == 1 && c.Fresh == 0
	n := float64(c.Samples)
	switch m := w.Truth.(type) {
	case *categorical:
		h := m.Diversity(Data{})
		switch {
		case plain && c.Mode == Replace:
			return []Law{{"diversity", "Wright-Fisher drift: H₀(1 − 1/n)^t", true, each(c.Generations, func(t int) float64 { return h * math.Pow(1-1/n, float64(t)) })}}
		case plain && c.Mode == Accumulate:
			product := 1.0
			return []Law{{"diversity", "H₀ Π (1 − 1/(n k²)) over k = 1 … t", true, each(c.Generations, func(t int) float64 {
				if t > 0 {
					product *= 1 - 1/(n*float64(t)*float64(t))
				}
				return h * product
			})}}
		}
		return meanField(m.p, c)
	case *gaussian:
		drift := mathext.Digamma((n-1)/2) + math.Ln2 - math.Log(n)
		if c.Mode == Replace && c.Fresh == 0 {
			return []Law{{"log variance", fmt.Sprintf("t(ψ((n−1)/2) + ln 2 − ln n) + (t − 1) ln τ: drift %s a generation", thermo.Format(drift+math.Log(c.Temperature), 4)), true,
				each(c.Generations, func(t int) float64 { return float64(t)*drift + float64(max(t-1, 0))*math.Log(c.Temperature) })}}
		}
	}
	return nil
}

// each returns f(0) … f(n).
func each(n int, f func(int) float64) []float64 {
	list := make([]float64, n+1)
	for t := range list {
		list[t] = f(t)
	}
	return list
}

// meanField iterates the loop on categories without noise.
func meanField(world []float64, c Config) []Law {
	theta, weight := world, 1.0
	entropy, diversity := []float64{entropyOf(world)}, []float64{(&categorical{p: world}).Diversity(Data{})}
	for t := 1; t <= c.Generations; t++ {
		if t > 1 { // generation 1 is fitted to real data
			own := tempered(theta, c.Temperature)
			next := make([]float64, len(world))
			kept, keptWeight := theta, 0.0
			switch c.Mode {
			case Accumulate:
				keptWeight = weight
			case Mixed:
				kept, keptWeight = world, 1
			}
			total := keptWeight + 1 + c.Fresh
			for i := range next {
				next[i] = (keptWeight*kept[i] + own[i] + c.Fresh*world[i]) / total
			}
			theta = next
			if c.Mode == Accumulate {
				weight = total
			}
		}
		entropy = append(entropy, entropyOf(theta))
		diversity = append(diversity, (&categorical{p: theta}).Diversity(Data{}))
	}
	return []Law{{"entropy", "infinitely many samples", false, entropy}, {"diversity", "infinitely many samples", false, diversity}}
}

// CriticalFresh returns the share of fresh data μ = 1/τ − 1 above which equally
// probable classes are stable when sampled at τ (docs/theory.md, T10).
func CriticalFresh(temperature float64) float64 { return math.Max(1/temperature-1, 0) }

// Fold returns the share of fresh data up to which a collapsed state, one class
// above all others, survives beside the uniform one: between CriticalFresh and it
// the loop has two stable states, and which one it finds depends on its past.
// With two classes both are the same. It is the largest
// μ(x) = (τ(x) − x)/(x − 1/n) over the probability x of that class.
func Fold(classes int, temperature float64) float64 {
	if temperature >= 1 {
		return 0
	}
	n := float64(classes)
	mu := func(x float64) float64 {
		// x^(1/τ)/(x^(1/τ) + (n−1)y^(1/τ)) of y = (1−x)/(n−1)
		y := (1 - x) / (n - 1)
		tau := 1 / (1 + (n-1)*math.Exp(math.Log(y/x)/temperature))
		return (tau - x) / (x - 1/n)
	}
	best := CriticalFresh(temperature)
	const steps = 100_000
	for i := 1; i < steps; i++ {
		best = math.Max(best, mu(1/n+(1-1/n)*float64(i)/steps))
	}
	return best
}

// A Verdict says where a loop goes.
type Verdict string

const (
	Collapse  Verdict = "collapse"
	HeatDeath Verdict = "heat death"
	Stable    Verdict = "stable"
)

// clear is the change of entropy, in nats, that counts as one.
const clear = 0.25

// Judge compares the last generation with the world: its entropy has moved by a
// quarter nat and by three standard errors, or it is stable.
func Judge(generations []Generation) Verdict {
	if len(generations) < 2 {
		return Stable
	}
	first, last := generations[0].Entropy, generations[len(generations)-1].Entropy
	moved, sure := last.Value-first.Value, 3*math.Hypot(first.StdErr, last.StdErr)
	switch {
	case moved < -math.Max(clear, sure):
		return Collapse
	case moved > math.Max(clear, sure):
		return HeatDeath
	}
	return Stable
}
