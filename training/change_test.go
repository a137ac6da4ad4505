package training

import (
	"math"
	"math/rand/v2"
	"testing"
)

// noisy is a curve of n records, ten steps apart, with noise that remembers rho
// of the record before.
func noisy(n int, mean func(t float64) float64, sigma, rho float64, random *rand.Rand) Curve {
	c := Curve{Name: "energy"}
	e := random.NormFloat64()
	for i := range n {
		t := float64(i) / float64(n)
		e = rho*e + math.Sqrt(1-rho*rho)*random.NormFloat64()
		c.Steps = append(c.Steps, 10*float64(i))
		c.Values = append(c.Values, mean(t)+sigma*e)
	}
	return c
}

// Everything that only slows down is no transition, whatever its noise.
func TestChangesFalseAlarms(t *testing.T) {
	shapes := map[string]func(float64) float64{
		"constant":    func(float64) float64 { return 1 },
		"exponential": func(t float64) float64 { return 0.1 + 2*math.Exp(-20*t) },
		"power law":   func(t float64) float64 { return 2 / math.Pow(1+100*t, 0.5) },
		"line":        func(t float64) float64 { return 2 - t },
		"rise":        func(t float64) float64 { return 1 - math.Exp(-10*t) },
		"hump":        func(t float64) float64 { return 0.5 + t*math.Exp(-5*t) },
	}
	random := rand.New(rand.NewPCG(1, 1))
	for name, mean := range shapes {
		alarms := 0
		const repeats = 300
		for i := range repeats {
			rho := []float64{0, 0.3, 0.6}[i%3]
			n := []int{60, 300, 1000}[i/3%3]
			found, err := Changes([]Curve{noisy(n, mean, 0.1, rho, random)})
			if err != nil {
				t.Fatal(err)
			}
			if len(found) > 0 {
				alarms++
			}
		}
		t.Logf("%s: %d of %d", name, alarms, repeats)
		if alarms > 0.02*repeats {
			t.Errorf("%s: %d alarms in %d repeats at %v", name, alarms, repeats, changeLevel)
		}
	}
}

func TestChanges(t *testing.T) {
	logistic := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	for _, c := range []struct {
		name     string
		mean     func(float64) float64
		at       []float64 // in shares of the run
		within   float64
		sharp    []bool
		sigma    float64
		expected [][2]float64 // before, after
	}{
		{"jump", func(t float64) float64 { return 1 - 0.8*logistic((t-0.6)*400) }, []float64{0.6}, 0.02, []bool{true}, 0.05, [][2]float64{{1, 0.2}}},
		{"slow", func(t float64) float64 { return 1 - 0.8*logistic((t-0.4)*15) }, []float64{0.4}, 0.25, []bool{false}, 0.02, nil},
		{"after convergence", func(t float64) float64 {
			return 0.5 + 2*math.Exp(-30*t) - 0.45*logistic((t-0.5)*300)
		}, []float64{0.5}, 0.02, []bool{true}, 0.05, [][2]float64{{0.5, 0.05}}},
		{"two", func(t float64) float64 { return 3 - logistic((t-0.3)*400) - 1.5*logistic((t-0.7)*400) }, []float64{0.3, 0.7}, 0.02, []bool{true, true}, 0.1,
			[][2]float64{{3, 2}, {2, 0.5}}},
		{"up", func(t float64) float64 { return 0.3 + 2*logistic((t-0.5)*300) }, []float64{0.5}, 0.02, []bool{true}, 0.1, [][2]float64{{0.3, 2.3}}},
		{"no noise", func(t float64) float64 { return 0.5 + 2*math.Exp(-30*t) - 0.45*logistic((t-0.5)*300) }, []float64{0.5}, 0.02, []bool{true}, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			const n = 600
			found, err := Changes([]Curve{noisy(n, c.mean, c.sigma, 0.3, rand.New(rand.NewPCG(2, 2)))})
			if err != nil {
				t.Fatal(err)
			}
			if len(found) != len(c.at) {
				t.Fatalf("found %+v, expected changes at %v", found, c.at)
			}
			for i, f := range found {
				middle := (f.First + f.Last) / 2 / (10 * n)
				if math.Abs(middle-c.at[i]) > c.within || f.Sharp() != c.sharp[i] || f.P > changeLevel {
					t.Errorf("found %+v (middle %.3f), expected a change at %v, sharp %v", f, middle, c.at[i], c.sharp[i])
				}
				if c.expected == nil {
					continue
				}
				if d := f.Before.Value - c.expected[i][0]; math.Abs(d) > 4*f.Before.StdErr+0.02 {
					t.Errorf("before %v, expected %v", f.Before, c.expected[i][0])
				}
				if d := f.After.Value - c.expected[i][1]; math.Abs(d) > 4*f.After.StdErr+0.02 {
					t.Errorf("after %v, expected %v", f.After, c.expected[i][1])
				}
			}
		})
	}
}

func TestChangesBadInput(t *testing.T) {
	for _, c := range []Curve{
		{Steps: []float64{1, 2}, Values: []float64{1}},
		{Steps: []float64{1, 1}, Values: []float64{1, 2}},
		{Steps: []float64{1, 2}, Values: []float64{1, math.NaN()}},
	} {
		if _, err := Changes([]Curve{c}); err == nil {
			t.Errorf("no error for %+v", c)
		}
	}
	if found, err := Changes(nil); err != nil || found != nil {
		t.Errorf("nothing gave %v, %v", found, err)
	}
}
