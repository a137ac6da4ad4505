package ising

import (
	"math"

	"github.com/kelvin-ml/kelvin/thermo"
)

// moments are what a measurement adds up, per spin and averaged over the
// replicas of a chain.
type moments struct {
	E, E2, AbsM, M2, M4, M float64
}

func (a *moments) add(b moments, weight float64) {
	a.E += weight * b.E
	a.E2 += weight * b.E2
	a.AbsM += weight * b.AbsM
	a.M2 += weight * b.M2
	a.M4 += weight * b.M4
	a.M += weight * b.M
}

// maxBatches bounds the memory of a series: when so many are full, they merge
// in pairs.
const maxBatches = 256

// batches is a series of moments in batches of equal length.
type batches struct {
	Length int // measurements in a full batch
	Full   []moments
	Open   moments
	Filled int // measurements in Open
}

func (b *batches) add(x moments) {
	if b.Length == 0 {
		b.Length = 1
	}
	b.Open.add(x, 1)
	b.Filled++
	if b.Filled < b.Length {
		return
	}
	var mean moments
	mean.add(b.Open, 1/float64(b.Length))
	b.Full = append(b.Full, mean)
	b.Open, b.Filled = moments{}, 0
	if len(b.Full) == maxBatches {
		b.merge()
	}
}

// merge joins batches in pairs.
func (b *batches) merge() {
	half := len(b.Full) / 2
	for i := range half {
		var mean moments
		mean.add(b.Full[2*i], 0.5)
		mean.add(b.Full[2*i+1], 0.5)
		b.Full[i] = mean
	}
	if len(b.Full)%2 == 1 { // the odd one opens the next batch
		b.Open.add(b.Full[2*half], float64(b.Length))
		b.Filled += b.Length
	}
	b.Full = b.Full[:half]
	b.Length *= 2
}

func (b *batches) measurements() int { return len(b.Full)*b.Length + b.Filled }

// average joins the batches of chains measured in step, batch by batch.
func average(chains []*batches) []moments {
	longest, n := 0, math.MaxInt
	for _, c := range chains {
		longest = max(longest, c.Length)
	}
	aligned := make([][]moments, len(chains))
	for i, c := range chains {
		b := batches{Length: c.Length, Full: append([]moments(nil), c.Full...)}
		for b.Length < longest {
			b.merge()
			b.Open, b.Filled = moments{}, 0
		}
		aligned[i] = b.Full
		n = min(n, len(b.Full))
	}
	out := make([]moments, n)
	for _, full := range aligned {
		for i := range out {
			out[i].add(full[i], 1/float64(len(chains)))
		}
	}
	return out
}

// observables are the quantities of a point, as functions of its moments.
type observables struct {
	energy, specificHeat, absMagnetisation, susceptibility, binder float64
}

func (m moments) observables(sites, temperature float64) observables {
	return observables{
		energy:           m.E,
		specificHeat:     sites * (m.E2 - m.E*m.E) / (temperature * temperature),
		absMagnetisation: m.AbsM,
		susceptibility:   sites * (m.M2 - m.AbsM*m.AbsM) / temperature,
		binder:           1 - m.M4/(3*m.M2*m.M2),
	}
}

// minBatches is the least number of batches that an error is read from.
const minBatches = 8

// jackknife returns the value of f of the mean moments, its bias removed to
// first order, and its standard error: pseudo-values of the batches, whose
// remaining correlation [thermo.MeanError] counts.
func jackknife(b []moments, f func(moments) float64) (value, stderr float64) {
	n := float64(len(b))
	if len(b) < minBatches {
		var mean moments
		for _, x := range b {
			mean.add(x, 1/n)
		}
		return f(mean), math.NaN()
	}
	var sum moments
	for _, x := range b {
		sum.add(x, 1)
	}
	var mean moments
	mean.add(sum, 1/n)
	whole := f(mean)
	pseudo := make([]float64, len(b))
	for i, x := range b {
		var rest moments
		rest.add(sum, 1/(n-1))
		rest.add(x, -1/(n-1))
		pseudo[i] = n*whole - (n-1)*f(rest)
	}
	value, stderr, _, err := thermo.MeanError(pseudo)
	if err != nil {
		return whole, math.NaN()
	}
	return value, stderr
}

// reading is a jackknife estimate as a reading; ess is of the sample mean
// behind it.
func reading(name, unit string, b []moments, ess float64, f func(moments) float64) thermo.Reading {
	r := thermo.Reading{Name: name, Unit: unit}
	r.Value, r.StdErr = jackknife(b, f)
	if len(b) < minBatches {
		r.Invalid = "too few measurements for an error"
		return r
	}
	switch {
	case math.IsNaN(r.Value) || math.IsInf(r.Value, 0):
		r.Invalid = "not a number: every measured configuration has zero magnetisation"
	case math.IsNaN(r.StdErr):
		r.Invalid = "too few measurements, or too correlated ones, for an error"
	default:
		r.ESS, r.DoF = ess, float64(len(b)-1)
	}
	return r
}
