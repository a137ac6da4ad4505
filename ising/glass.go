package ising

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"

	"gonum.org/v1/gonum/mat"

	"github.com/kelvin-ml/kelvin/thermo"
)

// glass draws samples of a Sherrington-Kirkpatrick model: normal couplings whose
// squares add up to one on average over the variables, new ones for every call, and for every sample a chain of its own
// that is cooled from a random start.
func glass(samples, n int, temperature float64, rng *rand.Rand) *mat.Dense {
	j := make([]float64, n*n)
	square := 0.0
	for i := range n {
		for k := range i {
			x := rng.NormFloat64()
			j[i*n+k], j[k*n+i] = x, x
			square += 2 * x * x / float64(n)
		}
	}
	for i := range j {
		j[i] *= 2 / temperature / math.Sqrt(square)
	}
	const work = 5e7
	sweeps := int(math.Max(30, math.Min(100, work/(float64(samples)*float64(n*n)))))
	x := mat.NewDense(samples, n, nil)
	field := make([]float64, n)
	for k := range samples {
		s := x.RawRowView(k)
		clear(field)
		for i := range s {
			s[i] = float64(2*rng.IntN(2) - 1)
			for l, c := range j[i*n : (i+1)*n] {
				field[l] += c * s[i]
			}
		}
		for sweep := range sweeps {
			heat := math.Min(1, 0.3+1.4*float64(sweep)/float64(sweeps)) // the first half cools
			for i := range s {
				up := -1.0
				if rng.Float64()*(1+math.Exp(-heat*field[i])) < 1 {
					up = 1
				}
				if up == s[i] {
					continue
				}
				s[i] = up
				for l, c := range j[i*n : (i+1)*n] {
					field[l] += 2 * up * c
				}
			}
		}
	}
	return x
}

// fitted is what a temperature is read from: the mean square of the couplings
// of a fit, biased as that of every fit of so many parameters, and how hard the
// variables are to predict from each other.
type fitted struct{ square, surprise float64 }

func fit(ctx context.Context, x *mat.Dense) (fitted, error) {
	c, err := fitCouplings(ctx, x, 1e-4)
	if err != nil {
		return fitted{}, err
	}
	return fitted{meanSquare(c.J), c.surprise}, nil
}

// Temperatures between which a reading is sought.
const (
	coldestGlass = 0.35
	hottestGlass = 20.0
)

// glassTemperature reads the temperature of samples by indirect inference
// (Gouriéroux, Monfort and Renault, J. Appl. Econom. 8, S85, 1993): that at which a
// Sherrington-Kirkpatrick model of as many variables, sampled as often, is fitted
// with couplings of the same mean square. So whatever the fit does, it does to
// both. The error is the scatter of such models, or that over tenths of the samples
// where it is larger.
func glassTemperature(ctx context.Context, x *mat.Dense) (thermo.Reading, error) {
	m, n := x.Dims()
	r := thermo.Reading{Name: "couplings", Unit: "1", Value: math.NaN(), StdErr: math.NaN(), ESS: float64(m)}
	if m < leastGlass {
		r.Invalid = fmt.Sprintf("%d samples: at least %d are needed", m, leastGlass)
		return r, nil
	}
	seen, err := fit(ctx, x)
	if err != nil {
		return r, err
	}
	streams := uint64(0)
	simulate := func(temperatures ...float64) ([]fitted, error) {
		first := streams
		streams += uint64(len(temperatures))
		return each(len(temperatures), func(i int) (fitted, error) {
			return fit(ctx, glass(m, n, temperatures[i], rand.New(rand.NewPCG(1, first+uint64(i)))))
		})
	}
	const independent = 1e6
	null, err := simulate(independent, independent, independent, independent, independent, independent)
	if err != nil {
		return r, err
	}
	mean, spread := meanAndSpread(null)
	if seen.square < mean+4*spread {
		r.Invalid = fmt.Sprintf("the couplings are not to be told from those of independent variables: %d samples tell temperatures up to about %.2g, and one of T needs some 8 T² samples", m, math.Sqrt(float64(m)/8))
		return r, nil
	}
	var temperatures []float64
	for t := hottestGlass; t > coldestGlass; t *= 0.75 {
		temperatures = append(temperatures, t)
	}
	curve, err := simulate(temperatures...)
	if err != nil {
		return r, err
	}
	// Colder models have larger couplings until their samples are too alike to
	// tell: the hot side counts.
	peak := 0
	for i, c := range curve {
		if c.square > curve[peak].square {
			peak = i
		}
	}
	at := 0
	for at < peak && curve[at].square < seen.square {
		at++
	}
	cold := peak
	for cold < len(curve) && curve[cold].square >= seen.square {
		cold++
	}
	// Two models may have couplings as large: the colder predicts better.
	frozen := cold < len(curve) && math.Abs(math.Log(seen.surprise/curve[cold].surprise)) < math.Abs(math.Log(seen.surprise/curve[at].surprise))
	if seen.square > curve[peak].square || frozen {
		r.Invalid = fmt.Sprintf("colder than about %.2g, below which %d samples of %d variables do not tell how cold", temperatures[peak], m, n)
		return r, nil
	}
	// A line through models on both sides.
	const models, width = 20, 0.6
	hot := temperatures[at]
	temperatures = nil
	var logs, squares []float64
	for i := range models {
		l := math.Log(hot/0.85) + width*(float64(i)/(models-1)-0.5)
		logs, temperatures = append(logs, l), append(temperatures, math.Exp(l))
	}
	if curve, err = simulate(temperatures...); err != nil {
		return r, err
	}
	for _, c := range curve {
		squares = append(squares, math.Log(c.square))
	}
	centre, level, slope, scatter := line(logs, squares)
	leftOut, err := tenths(ctx, x)
	if err != nil {
		return r, err
	}
	relative := math.Max(scatter*math.Sqrt(1+2.0/models), leftOut) / math.Max(-slope, 0.05)
	r.Value = math.Exp(centre + (math.Log(seen.square)-level)/slope)
	r.StdErr, r.DoF = relative*r.Value, models-2
	if relative > mostGlassError {
		r.Invalid = fmt.Sprintf("%d samples of %d variables tell the temperature to %.0f %% only: some %s are needed", m, n, 100*relative,
			roundUp(float64(m)*math.Max(2, relative/mostGlassError)))
	}
	return r, nil
}

// mostGlassError is the relative error up to which a reading is one.
const mostGlassError = 0.2

// leastGlass is the least number of samples that tenths can be left out of.
const leastGlass = 20

// tenths is the jackknife error of the log of the statistic over tenths of the
// samples.
func tenths(ctx context.Context, x *mat.Dense) (float64, error) {
	const blocks = 10
	m, n := x.Dims()
	parts, err := each(blocks, func(b int) (fitted, error) {
		low, high := b*m/blocks, (b+1)*m/blocks
		rest := mat.NewDense(m-(high-low), n, nil)
		for k := range m - (high - low) {
			from := k
			if k >= low {
				from += high - low
			}
			rest.SetRow(k, x.RawRowView(from))
		}
		return fit(ctx, rest)
	})
	var values []float64
	for _, p := range parts {
		values = append(values, math.Log(p.square))
	}
	return jackknifeError(values), err
}

// each fits n models on all threads.
func each(n int, value func(int) (fitted, error)) ([]fitted, error) {
	out, errs := make([]fitted, n), make([]error, n)
	var wg sync.WaitGroup
	free := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range n {
		wg.Go(func() {
			free <- struct{}{}
			out[i], errs[i] = value(i)
			<-free
		})
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

// meanAndSpread of the mean squares.
func meanAndSpread(x []fitted) (mean, spread float64) {
	for _, v := range x {
		mean += v.square / float64(len(x))
	}
	for _, v := range x {
		spread += (v.square - mean) * (v.square - mean) / float64(len(x)-1)
	}
	return mean, math.Sqrt(spread)
}

// line fits y = level + slope (x − centre) and returns the scatter about it.
func line(x, y []float64) (centre, level, slope, scatter float64) {
	n := float64(len(x))
	for i := range x {
		centre, level = centre+x[i]/n, level+y[i]/n
	}
	var xx, xy float64
	for i := range x {
		xx += (x[i] - centre) * (x[i] - centre)
		xy += (x[i] - centre) * (y[i] - level)
	}
	slope = xy / xx
	for i := range x {
		d := y[i] - level - slope*(x[i]-centre)
		scatter += d * d / (n - 2)
	}
	return centre, level, slope, math.Sqrt(scatter)
}
