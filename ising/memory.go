package ising

import (
	"fmt"
	"math"

	"github.com/kelvin-ml/kelvin/thermo"
)

// memory is how long a chain remembers, as far as theory tells: a series that
// is shorter than its own correlation does not show it, so the judgement is not
// left to the series alone.
type memory struct {
	sweeps float64 // the integrated autocorrelation time of the order parameter
	length float64 // the correlation length, at most L
	rare   float64 // the probability of a finite lattice below Tc to be between its two signs, over that of one sign; else 1
	remedy string  // what forgets sooner
}

// memoryAt is the memory of a chain at temperature t (docs/theory.md, T9), with
// amplitudes measured on the square lattice: ξ^z with z = 2.17 for the local
// rules and about 0.3 for clusters, where ξ ~ 1/|t/Tc − 1| is at most L.
func (c Config) memoryAt(t float64) memory {
	m, local := c.Model, c.Algorithm == Metropolis || c.Algorithm == HeatBath
	x := memory{length: 1, rare: 1}
	if tc := m.CriticalTemperature(); tc > 0 {
		away, scale := math.Abs(t/tc-1), 1.5
		if t < tc {
			scale = 0.9
			x.rare = math.Exp(-3.6 * float64(m.Size) * away) // e^{−2σL/T}, σ the tension of a wall
		}
		x.length = math.Min(float64(m.Size), scale/away)
		if local && c.Hot && t < tc { // domains grow up to the whole lattice
			x.length = float64(m.Size)
		}
	}
	if m.Field != 0 && !m.staggered() {
		x.rare = 1
		x.length = math.Min(x.length, 1.5*math.Pow(math.Abs(m.Field)/t, -8.0/15))
	}
	x.length = math.Max(1, x.length)
	if !local {
		x.sweeps, x.remedy = 1+1.2*math.Pow(x.length, 0.3), "more replicas serve as well"
		return x
	}
	amplitude := 0.025
	if c.Algorithm == HeatBath {
		amplitude = 0.07
	}
	x.sweeps, x.remedy = 2+amplitude*math.Pow(x.length, 2.17), "wolff and sw need fewer"
	if m.Field != 0 {
		x.remedy = "sw needs fewer"
	}
	// Metropolis turns nearly every spin when it is hot, all together.
	if hot := t / (2 * float64(m.degree()) * math.Abs(m.Coupling)); c.Algorithm == Metropolis && hot > x.sweeps {
		x.sweeps, x.remedy = hot, "heatbath needs few when it is hot"
	}
	return x
}

// warmup is how many sweeps make the start, which is some L standard deviations
// away, count for less than a third of the error of so many independent draws.
func (x memory) warmup(size int, draws float64) float64 {
	return 2 * x.sweeps * math.Max(0, math.Log(3*float64(size)*math.Sqrt(draws)))
}

// startBias is the number of draws whose error compares with what the start
// leaves in the mean of a run.
func (c Config) startBias(x memory, sweeps int) float64 {
	return float64(c.Replicas) * math.Min(1, x.sweeps/(2*float64(sweeps)))
}

// LeastWarmup is the number of sweeps after which the start should not show in
// the readings any more, at any of the temperatures; it is an estimate from the
// known dynamic exponents, and may be very long for a local rule near the critical
// temperature.
func (c Config) LeastWarmup() int {
	most := 0.0
	for _, t := range c.Temperatures {
		x := c.memoryAt(t)
		most = math.Max(most, x.warmup(c.Model.Size, c.startBias(x, c.Sweeps)))
	}
	return int(math.Min(math.Ceil(most), maxSweeps))
}

// Independent draws that a reading needs for an error that covers.
const (
	energyDraws = 20  // a mean over the whole lattice
	fewDraws    = 60  // |m| and the specific heat where the lattice is many correlation lengths wide
	manyDraws   = 150 // where it is one; the susceptibility anywhere
	binderDraws = 300 // the Binder cumulant, whose fourth moment is of few draws, anywhere
	rareDraws   = 30  // of what is rare and counts
)

// doubt marks the readings that cannot be trusted because the chains remember
// too long for so many sweeps.
func (p *Point) doubt(c Config) {
	x, size := c.memoryAt(p.Temperature), float64(c.Model.Size)
	sweeps := float64(p.Measurements * c.Interval)
	each := sweeps / (2 * x.sweeps)
	if c.Replicas >= minReplicas {
		each = math.Max(1, each) // replicas are independent however short
	}
	draws := float64(c.Replicas) * each
	mark := func(reason string, readings ...*thermo.Reading) {
		for _, r := range readings {
			if reason != "" && (r.Valid() || r.Invalid == noError) {
				r.Invalid = reason
			}
		}
	}
	tooFew := func(least float64) string {
		if draws >= least {
			return ""
		}
		return fmt.Sprintf("%.0f sweeps are too few, as the order parameter remembers some %s: %s are needed (%s), or more replicas",
			sweeps, roundUp(x.sweeps), roundUp(2*x.sweeps*least/float64(c.Replicas)), x.remedy)
	}
	if least := x.warmup(c.Model.Size, c.startBias(x, int(sweeps))); float64(c.Warmup) < least {
		mark(fmt.Sprintf("a warm-up of %d sweeps does not forget the start: %s are needed (%s)", c.Warmup, roundUp(least), x.remedy),
			&p.Energy, &p.AbsMagnetisation, &p.SpecificHeat, &p.Susceptibility, &p.Binder)
	}
	mark(tooFew(energyDraws), &p.Energy)
	mark(tooFew(math.Max(fewDraws, manyDraws*x.length/size)), &p.AbsMagnetisation, &p.SpecificHeat)
	mark(tooFew(manyDraws), &p.Susceptibility)
	mark(tooFew(binderDraws), &p.Binder)
	// Just below Tc a finite lattice is between its two signs now and then: rare
	// visits that decide the susceptibility, until they are too rare to count.
	if size*size*x.rare*math.Sqrt(draws) > 0.3 {
		mark(tooFew(rareDraws/x.rare), &p.Susceptibility, &p.Binder)
	}
}

// roundUp writes a number of sweeps, rounded up to two digits.
func roundUp(x float64) string {
	unit := math.Pow(10, math.Max(0, math.Floor(math.Log10(x))-1))
	return fmt.Sprintf("%.0f", math.Ceil(x/unit)*unit)
}
