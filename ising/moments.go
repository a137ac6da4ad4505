package ising

import (
	"math"

	"github.com/kelvin-ml/kelvin/thermo"
)

// sums are what a lattice adds up, one number a replica.
type sums struct {
	magnetisation []int64 // Σs
	staggered     []int64 // Σ ±s, + where x + y is even; nil when nobody asks
	bonds         []int64 // −Σss' over bonds
}

// moments are what a measurement adds up, per spin. Energies count from
// [Model.reference], so that the digits of the specific heat do not cancel.
type moments struct {
	E, E2, AbsM, M2, M4 float64
}

func (a *moments) add(b moments, weight float64) {
	a.E += weight * b.E
	a.E2 += weight * b.E2
	a.AbsM += weight * b.AbsM
	a.M2 += weight * b.M2
	a.M4 += weight * b.M4
}

// over divides: a mean of equal numbers is that number, to the last bit.
func (a moments) over(n float64) moments {
	return moments{a.E / n, a.E2 / n, a.AbsM / n, a.M2 / n, a.M4 / n}
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
	b.Full = append(b.Full, b.Open.over(float64(b.Length)))
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
			out[i].add(full[i], 1)
		}
	}
	for i := range out {
		out[i] = out[i].over(float64(len(chains)))
	}
	return out
}

// observables are the quantities of a point, as functions of its moments; the
// energy counts from the reference.
type observables struct {
	energy, specificHeat, absMagnetisation, susceptibility, binder float64
}

func (m moments) observables(sites, temperature float64) observables {
	return observables{
		energy:           m.E,
		specificHeat:     sites * math.Max(0, m.E2-m.E*m.E) / (temperature * temperature),
		absMagnetisation: m.AbsM,
		susceptibility:   sites * math.Max(0, m.M2-m.AbsM*m.AbsM) / temperature,
		binder:           1 - m.M4/(3*m.M2*m.M2),
	}
}

// Least numbers of batches, and of replicas, that an error is read from: of fewer
// replicas the batches of their mean are more, and tell the error better.
const (
	minBlocks   = 8
	minReplicas = 32
)

// block is the mean of some measurements and their weight.
type block struct {
	mean   moments
	weight float64
}

// measured is what a point's quantities are read from.
type measured struct {
	blocks []block
	// Blocks of different replicas are independent of each other; else they
	// are one series in order.
	independent bool
	mean        moments
	weight      float64
}

func newMeasured(blocks []block, independent bool) measured {
	x := measured{blocks: blocks, independent: independent}
	for _, b := range blocks {
		x.mean.add(b.mean, b.weight)
		x.weight += b.weight
	}
	x.mean = x.mean.over(x.weight)
	return x
}

// without is the mean that is left when a block is left out.
func (x measured) without(b block) moments {
	rest := moments{}
	rest.add(x.mean, x.weight)
	rest.add(b.mean, -b.weight)
	return rest.over(x.weight - b.weight)
}

// jackknife returns the value of f of the mean moments, its bias removed to
// first order, and its standard error, NaN where it is not known. Blocks of
// replicas may weigh differently (Busing, Meijer and van der Leeden, Stat.
// Comput. 9, 3, 1999); of a series, [thermo.MeanError] counts the correlation
// left between batches.
func (x measured) jackknife(f func(moments) float64) (value, stderr float64, constant bool) {
	whole := f(x.mean)
	if len(x.blocks) < minBlocks {
		return whole, math.NaN(), false
	}
	n := float64(len(x.blocks))
	pseudo := make([]float64, len(x.blocks))
	constant = true
	for i, b := range x.blocks {
		h := x.weight / b.weight
		pseudo[i] = h*whole - (h-1)*f(x.without(b))
		constant = constant && math.Abs(pseudo[i]-whole) <= 1e-13*h*math.Abs(whole)
		value += pseudo[i] / h
	}
	if constant {
		return whole, math.NaN(), true
	}
	if !x.independent {
		value, stderr, _, err := thermo.MeanError(pseudo)
		if err != nil {
			return whole, math.NaN(), false
		}
		return value, stderr, false
	}
	var variance float64
	for i, b := range x.blocks {
		d := pseudo[i] - value
		variance += d * d / (x.weight/b.weight - 1) / n
	}
	return value, math.Sqrt(variance), false
}

// noError is said where the correlation of a series cannot be told.
const noError = "too few measurements, or too correlated ones, for an error: more sweeps, or 32 replicas or more, give one"

// reading is a jackknife estimate as a reading; variance is of the single
// measurements of the mean behind it, low and high bound what is possible.
func (x measured) reading(name, unit string, of, behind func(moments) float64, variance, low, high float64) thermo.Reading {
	r := thermo.Reading{Name: name, Unit: unit, StdErr: math.NaN()}
	value, stderr, constant := x.jackknife(of)
	r.Value = math.Max(low, math.Min(value, high))
	switch {
	case math.IsNaN(value) || math.IsInf(value, 0):
		r.Value, r.Invalid = math.NaN(), "not a number: every measured configuration has zero magnetisation"
	case constant:
		r.Invalid = "no measurement differs from another: the error is not known"
	case len(x.blocks) < minBlocks:
		r.Invalid = "too few measurements for an error"
	case math.IsNaN(stderr):
		r.Invalid = noError
	default:
		r.StdErr, r.DoF = stderr, float64(len(x.blocks)-1)
		if _, e, _ := x.jackknife(behind); e > 0 {
			r.ESS = variance / (e * e)
		}
	}
	return r
}

// staggered reports whether the order parameter is the difference of the two
// sublattices: that of an antiferromagnet, where there are two.
func (m Model) staggered() bool { return m.Coupling < 0 && m.Lattice != Triangular }

// reference is what the energies of measurements count from, as the sums of a
// configuration that has it: all spins up or down if that is lower than the
// ground state without the field, else that.
func (m Model) reference() (bonds, magnetisation int64) {
	sites := int64(m.Size) * int64(m.Size)
	aligned := -sites * int64(m.degree()) / 2
	along := int64(math.Copysign(float64(sites), m.Field))
	ordered := -aligned
	if m.Lattice == Triangular {
		ordered = sites // one bond of a triangle has to be against the coupling
	}
	if m.Coupling > 0 || m.Coupling*float64(aligned)-m.Field*float64(along) < m.Coupling*float64(ordered) {
		return aligned, along
	}
	return ordered, 0
}

// energy is that of sums, per spin.
func (m Model) energy(bonds, magnetisation int64) float64 {
	return (m.Coupling*float64(bonds) - m.Field*float64(magnetisation)) / float64(m.sites())
}
