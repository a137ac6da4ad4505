package thermo

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// alarms returns how often law raises an alarm over seeded repeats.
func alarms(repeats int, seed uint64, law func(*rand.Rand) Zeroth) (rate, stderr float64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	count := 0
	for range repeats {
		if law(rng).PValue < zerothLevel {
			count++
		}
	}
	rate = float64(count) / float64(repeats)
	return rate, math.Sqrt(rate * (1 - rate) / float64(repeats))
}

func TestZerothLawFalseAlarms(t *testing.T) {
	// Readings of T = 2 with different errors and degrees of freedom.
	independent := func(dofs ...int) func(*rand.Rand) Zeroth {
		return func(rng *rand.Rand) Zeroth {
			var readings []Reading
			for i, dof := range dofs {
				sigma := 0.01 * float64(i+1)
				r := Reading{Value: 2 + sigma*rng.NormFloat64(), StdErr: sigma, DoF: float64(dof)}
				if dof > 0 {
					var chi2 float64
					for range dof {
						chi2 += sq(rng.NormFloat64())
					}
					r.StdErr *= math.Sqrt(chi2 / float64(dof))
				}
				readings = append(readings, r)
			}
			return ZerothLaw(readings)
		}
	}
	for _, dofs := range [][]int{{0, 0}, {0, 0, 0, 0}, {8, 8}, {8, 8, 8}, {8, 16, 64, 0}, {64, 64, 64}} {
		rate, _ := alarms(4000, 5, independent(dofs...))
		t.Logf("independent, %v degrees of freedom: false alarms %.4f", dofs, rate)
		if rate < 0.035 || rate > 0.065 {
			t.Errorf("%v: false-alarm rate %g, want 0.05", dofs, rate)
		}
	}
	for _, n := range []int{20, 64, 2000} {
		rho := 0.0
		if n > 100 {
			rho = 0.8
		}
		rate, _ := alarms(2000, 12, func(rng *rand.Rand) Zeroth {
			var readings []Reading
			for range 3 {
				var s Series
				for _, x := range autoregressive(rng, n, rho) {
					s.Add(5 + x)
				}
				readings = append(readings, s.Reading("", "", ""))
			}
			return ZerothLaw(readings)
		})
		t.Logf("three series of %d draws, rho %g: false alarms %.4f", n, rho, rate)
		if rate < 0.03 || rate > 0.07 {
			t.Errorf("three series of %d draws: false-alarm rate %g, want 0.05", n, rate)
		}
	}
	known := func(rng *rand.Rand) Zeroth {
		return ZerothLaw([]Reading{{Value: 2}, {Value: 2 + 0.1*rng.NormFloat64(), StdErr: 0.1}, {Value: 2 + 0.2*rng.NormFloat64(), StdErr: 0.2}})
	}
	if rate, _ := alarms(4000, 6, known); rate < 0.035 || rate > 0.065 {
		t.Errorf("against an exact reading: false-alarm rate %g, want 0.05", rate)
	}
	for _, correlation := range []float64{-1, 0, 1} {
		anyhow := func(rng *rand.Rand) Zeroth {
			x, y := rng.NormFloat64(), rng.NormFloat64()
			y = correlation*x + math.Sqrt(1-sq(correlation))*y
			return ZerothLawAnyDependence([]Reading{{Value: 2 + 0.01*x, StdErr: 0.01}, {Value: 2 + 0.02*y, StdErr: 0.02}})
		}
		rate, stderr := alarms(2000, 7, anyhow)
		t.Logf("correlation %+g, any dependence: false alarms %.4f", correlation, rate)
		if rate > 0.05+4*stderr {
			t.Errorf("correlation %g: false-alarm rate %g, want at most 0.05", correlation, rate)
		}
	}
}

// drawTogether feeds virial, kinetic and configurational thermometers correlated
// draws of a system at temperature 2; hot multiplies the kinetic one.
func drawTogether(rng *rand.Rand, n int, rho, hot float64) (*Virial, *Configurational, *Kinetic) {
	groups := []Group{{"a", 10}}
	v, _ := NewVirial(groups)
	c, _ := NewConfigurational(groups)
	k, _ := NewKinetic(groups)
	common, own, other := autoregressive(rng, n, rho), autoregressive(rng, n, rho), autoregressive(rng, n, rho)
	for i := range n {
		_ = v.Add([]float64{10 * (2 + 0.5*common[i] + 0.1*own[i])})
		_ = c.Add([]float64{30 * (2 + 0.5*common[i] + 0.1*other[i])}, []float64{30 * (1 + 0.1*rng.NormFloat64())})
		_ = k.Add([]float64{hot * 10 * (2 + 0.5*common[i])})
	}
	return v, c, k
}

func TestZerothLawOfTheSameDraws(t *testing.T) {
	for _, rho := range []float64{0, 0.9} {
		same, _ := alarms(1000, 8, func(rng *rand.Rand) Zeroth {
			v, c, k := drawTogether(rng, 2000, rho, 1)
			return ZerothLawSameDraws(v, c, k)
		})
		detected, _ := alarms(200, 9, func(rng *rand.Rand) Zeroth {
			v, c, k := drawTogether(rng, 2000, rho, 1.03)
			return ZerothLawSameDraws(v, c, k)
		})
		unseen, _ := alarms(200, 9, func(rng *rand.Rand) Zeroth {
			v, c, k := drawTogether(rng, 2000, rho, 1.03)
			return ZerothLaw([]Reading{v.Global(), c.Global(), k.Global()})
		})
		t.Logf("rho %g: same draws: false alarms %.3f, 3 %% seen in %.2f; taken as independent: seen in %.2f", rho, same, detected, unseen)
		if same < 0.03 || same > 0.07 {
			t.Errorf("rho %g: false-alarm rate %g, want 0.05", rho, same)
		}
		if detected < 0.8 || detected < unseen {
			t.Errorf("rho %g: a difference of 3 %% is seen in %g of cases by the same draws, %g as independent", rho, detected, unseen)
		}
	}
}

func TestZerothLawVerdicts(t *testing.T) {
	at := func(value, stderr float64) Reading { return Reading{Value: value, StdErr: stderr} }
	for _, test := range []struct {
		readings []Reading
		want     Verdict
	}{
		{nil, NotEnoughData},
		{[]Reading{at(1, 0.01)}, NotEnoughData},
		{[]Reading{at(1, 0.01), {Value: 1, StdErr: 0.01, Invalid: "no"}}, NotEnoughData},
		{[]Reading{at(1, 0.01), at(math.NaN(), 0.01)}, NotEnoughData},
		{[]Reading{at(1, 0.01), at(1, math.NaN())}, NotEnoughData},
		{[]Reading{at(1, 0.01), at(1.01, 0.01)}, Equilibrium},
		{[]Reading{at(1, 0.01), at(1.06, 0.01)}, NotEquilibrium},
		{[]Reading{at(1, 0.2), at(1.06, 0.1)}, NotEnoughData},
		{[]Reading{at(1, 0), at(1, 0)}, Equilibrium},
		{[]Reading{at(1, 0), at(1.009, 0)}, Equilibrium}, // less than finite windows leave
		{[]Reading{at(1, 0), at(1.02, 0)}, NotEquilibrium},
		{[]Reading{at(1, 0), at(1.01, 0.01)}, Equilibrium},
		{[]Reading{at(0, 0.01), at(0.001, 0.01)}, NotEnoughData},
		{[]Reading{at(-1, 0.01), at(-1.01, 0.01)}, Equilibrium},
	} {
		for name, law := range map[string]func([]Reading) Zeroth{"independent": ZerothLaw, "any dependence": ZerothLawAnyDependence} {
			z := law(test.readings)
			if z.Verdict != test.want {
				t.Errorf("%s: %v: %+v, want %s", name, test.readings, z, test.want)
			}
			if _, err := json.Marshal(z); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestZerothLawPower(t *testing.T) {
	// Where the verdict on equal readings turns to equilibrium, a departure of
	// 10 % of the least precise thermometer is seen with a chance of 80 %.
	sigma := 0.1 / detectable(2, 0) * math.Sqrt(2./3)
	rate, stderr := alarms(4000, 10, func(rng *rand.Rand) Zeroth {
		r := make([]Reading, 3)
		for i := range r {
			r[i] = Reading{Value: 1 + sigma*rng.NormFloat64(), StdErr: sigma}
		}
		r[0].Value += 0.1
		return ZerothLaw(r)
	})
	if math.Abs(rate-0.8) > 4*stderr+0.01 {
		t.Errorf("power %g ± %g, want 0.8", rate, stderr)
	}
}

func TestZerothLawSameDrawsDefects(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 0))
	v, c, k := drawTogether(rng, 100, 0, 1)
	_ = v.Add([]float64{20})
	if z := ZerothLawSameDraws(v, c, k); z.Verdict != NotEnoughData || !strings.Contains(z.Reason, "different numbers") {
		t.Errorf("%+v", z)
	}
	if z := ZerothLawSameDraws(v); z.Verdict != NotEnoughData {
		t.Errorf("%+v", z)
	}
	if z := ZerothLawSameDraws(v, v); z.Verdict != Equilibrium {
		t.Errorf("a thermometer disagrees with itself: %+v", z)
	}
	if z := ZerothLawSameDraws(v, v, v); z.Verdict != Equilibrium {
		t.Errorf("a thermometer disagrees with itself: %+v", z)
	}
}

func ExampleZerothLaw() {
	z := ZerothLaw([]Reading{
		{Name: "virial", Value: 1.02, StdErr: 0.02},
		{Name: "configurational", Value: 0.99, StdErr: 0.01},
		{Name: "kinetic", Value: 0.79, StdErr: 0.02},
	})
	fmt.Println(z.Verdict)
	fmt.Println(z.Reason)
	// Output:
	// not in equilibrium
	// 3 thermometers differ by up to 23.9 % (p = 2.6e-20)
}

// A known temperature is the bath, which no thermometer reads.
func TestZerothLawWords(t *testing.T) {
	bath := Reading{Name: "bath", Value: 1}
	a, b := Reading{Value: 1.001, StdErr: 0.01}, Reading{Value: 0.999, StdErr: 0.01}
	for want, readings := range map[string][]Reading{
		"2 thermometers agree with the bath within": {a, b, bath}, "1 thermometer agrees with the bath within": {a, bath}, "2 thermometers agree within": {a, b},
		"2 thermometers and the bath differ by up to": {a, {Value: 2, StdErr: 0.01}, bath},
	} {
		if z := ZerothLawAnyDependence(readings); !strings.HasPrefix(z.Reason, want) || z.Compared != len(readings) {
			t.Errorf("%q, want %q", z.Reason, want)
		}
	}
}
