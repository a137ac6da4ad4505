package ising

import (
	"errors"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
)

// Explanation says what a classifier does with configurations that it was not
// trained on.
type Explanation struct {
	Tc           float64 // where the mean output crosses one half
	Threshold    float64 // m*, see [Classifier.Threshold]
	ThresholdTc  float64 // T where ⟨|m|⟩ = m*
	WeightCV     float64
	Against      float64 // share of the weights whose sign is not that of their mean
	Symmetry     float64
	Counting     float64 // share of the log odds' variance at fixed T that |m| explains; 1 when the network counts magnetisation
	Accuracy     float64
	Temperatures []float64 // the curves: at each temperature
	Output       []float64 // … the mean probability of "ordered"
	AbsM         []float64 // … ⟨|m|⟩
}

// Explain reads a classifier on test configurations.
func (c *Classifier) Explain(test *Samples) (Explanation, error) {
	logits, err := c.Logits(test)
	if err != nil {
		return Explanation{}, err
	}
	e := Explanation{Threshold: c.Threshold(), WeightCV: c.WeightCV(), Against: c.Against(), Symmetry: c.Symmetry()}
	groups := map[float64][]int{}
	correct := 0
	for i, t := range test.Temperature {
		groups[t] = append(groups[t], i)
		if (logits[i] > 0) == (t < Tc) {
			correct++
		}
	}
	e.Accuracy = float64(correct) / float64(test.Len())
	for t := range groups {
		e.Temperatures = append(e.Temperatures, t)
	}
	slices.Sort(e.Temperatures)
	var both, own, other float64 // within-temperature sums for the regression
	for _, t := range e.Temperatures {
		n := float64(len(groups[t]))
		var p, m, z float64
		for _, i := range groups[t] {
			p += 1 / (1 + math.Exp(-logits[i])) / n
			m += math.Abs(test.Magnetisation(i)) / n
			z += logits[i] / n
		}
		for _, i := range groups[t] {
			dm, dz := math.Abs(test.Magnetisation(i))-m, logits[i]-z
			both, own, other = both+dm*dz, own+dz*dz, other+dm*dm
		}
		e.Output = append(e.Output, p)
		e.AbsM = append(e.AbsM, m)
	}
	e.Counting = both * both / (own * other)
	if e.Tc, err = crossing(e.Temperatures, e.Output, 0.5); err != nil {
		e.Tc = math.NaN() // a network that learned nothing is never undecided
	}
	if e.ThresholdTc, err = crossing(e.Temperatures, e.AbsM, e.Threshold); err != nil {
		e.ThresholdTc = math.NaN() // noise weights have no meaningful threshold
	}
	return e, nil
}

// crossing returns where a noisy curve that falls from high to low crosses a
// level: by a straight line through its points between the first crossing and
// the last, and those beside them within reach of the level.
func crossing(x, y []float64, level float64) (float64, error) {
	first, last := -1, -1
	for i := 1; i < len(x); i++ {
		if (y[i-1] > level) != (y[i] > level) {
			if first < 0 {
				first = i - 1
			}
			last = i
		}
	}
	if first < 0 {
		return 0, errors.New("the curve does not cross the level in the temperatures given")
	}
	reach := 0.6 * math.Min(level-slices.Min(y), slices.Max(y)-level)
	for first > 0 && math.Abs(y[first-1]-level) < reach {
		first--
	}
	for last < len(x)-1 && math.Abs(y[last+1]-level) < reach {
		last++
	}
	offset, slope := stat.LinearRegression(x[first:last+1], y[first:last+1], nil, false)
	at := (level - offset) / slope
	if !(at > x[0] && at < x[len(x)-1]) {
		return 0, errors.New("the curve is too noisy where it crosses the level")
	}
	return at, nil
}

// PCA is the first principal component of configurations.
type PCA struct {
	Share      float64   // of the variance, explained by it
	Uniformity float64   // |cos| of its angle with the uniform vector: 1 when it is the magnetisation
	Projection []float64 // of each configuration, over √N: ±|m| when uniform
}

// PrincipalComponent finds it by power iteration.
func PrincipalComponent(s *Samples) (PCA, error) {
	if s.Len() < 2 {
		return PCA{}, errors.New("principal components need two configurations or more")
	}
	sites := s.Size * s.Size
	mean := make([]float64, sites)
	for i := range s.Len() {
		for k, x := range s.Configuration(i) {
			mean[k] += float64(x) / float64(s.Len())
		}
	}
	total := 0.0
	for _, m := range mean {
		total += 1 - m*m
	}
	v := make([]float64, sites)
	for k := range v {
		v[k] = 1 + 0.5*math.Sin(float64(7*k)) // not orthogonal to anything smooth, nor uniform
	}
	projection := make([]float64, s.Len())
	eigenvalue := 0.0
	for range 60 {
		scale(v, 1/norm(v))
		next := make([]float64, sites)
		var sum float64
		for i := range s.Len() {
			p := 0.0
			for k, x := range s.Configuration(i) {
				p += v[k] * (float64(x) - mean[k])
			}
			projection[i] = p / math.Sqrt(float64(sites))
			sum += p * p / float64(s.Len())
			for k, x := range s.Configuration(i) {
				next[k] += p * (float64(x) - mean[k])
			}
		}
		settled := math.Abs(sum-eigenvalue) < 1e-9*sum
		eigenvalue = sum
		if settled {
			break
		}
		v = next
	}
	uniform := 0.0
	for _, x := range v {
		uniform += x
	}
	return PCA{Share: eigenvalue / total, Uniformity: math.Abs(uniform) / (norm(v) * math.Sqrt(float64(sites))), Projection: projection}, nil
}

func norm(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	return math.Sqrt(sum)
}

func scale(v []float64, by float64) {
	for i := range v {
		v[i] *= by
	}
}
