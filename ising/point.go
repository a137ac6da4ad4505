package ising

import (
	"math"

	"github.com/kelvin-ml/kelvin/thermo"
)

// Point is what was measured at one temperature, per spin, with errors that
// count the correlation of the series.
type Point struct {
	Temperature         float64        `json:"temperature"`
	Measurements        int            `json:"measurements"` // of each replica
	Energy              thermo.Reading `json:"energy"`
	AbsMagnetisation    thermo.Reading `json:"abs_magnetization"`
	SpecificHeat        thermo.Reading `json:"specific_heat"`  // N (⟨e²⟩ − ⟨e⟩²) / T²
	Susceptibility      thermo.Reading `json:"susceptibility"` // N (⟨m²⟩ − ⟨|m|⟩²) / T
	Binder              thermo.Reading `json:"binder"`         // 1 − ⟨m⁴⟩ / 3⟨m²⟩²
	MeasuredTemperature thermo.Reading `json:"measured_temperature"`
	FlipsPerNs          float64        `json:"flips_per_ns"` // spins updated a nanosecond of one chain's sweeps
}

// Points returns what was measured so far, temperature by temperature; the
// temperatures without a measurement are left out.
func (s *Simulation) Points() []Point {
	var points []Point
	for i, t := range s.Config.Temperatures {
		if p, ok := s.point(i, t); ok {
			points = append(points, p)
		}
	}
	return points
}

func (s *Simulation) point(index int, t float64) (Point, bool) {
	chains := s.at(index)
	series := make([]*batches, len(chains))
	var updates, busy float64
	least := math.MaxInt
	for i, c := range chains {
		series[i] = &c.series
		updates += float64(c.updates)
		busy += float64(c.busy.Nanoseconds())
		least = min(least, c.series.measurements())
	}
	b := average(series)
	if len(b) == 0 {
		return Point{}, false
	}
	p := Point{Temperature: t, Measurements: least, FlipsPerNs: updates / math.Max(busy, 1)}
	p.read(b, float64(s.Config.Model.sites()))
	p.MeasuredTemperature = s.measuredTemperature(chains)
	return p, true
}

// at returns the chains of a temperature.
func (s *Simulation) at(point int) []*chain {
	var list []*chain
	for _, c := range s.chains {
		if c.point == point {
			list = append(list, c)
		}
	}
	return list
}

// read fills in the observables.
func (p *Point) read(b []moments, sites float64) {
	var mean moments
	for _, x := range b {
		mean.add(x, 1/float64(len(b)))
	}
	ess := func(variance float64, f func(moments) float64) float64 {
		_, stderr := jackknife(b, f)
		if !(stderr > 0) {
			return 0
		}
		return variance / (stderr * stderr)
	}
	energies := ess(mean.E2-mean.E*mean.E, func(m moments) float64 { return m.E })
	magnetisations := ess(mean.M2-mean.AbsM*mean.AbsM, func(m moments) float64 { return m.AbsM })
	squares := ess(mean.M4-mean.M2*mean.M2, func(m moments) float64 { return m.M2 })
	t := p.Temperature
	p.Energy = reading("energy", "energy", b, energies, func(m moments) float64 { return m.E })
	p.AbsMagnetisation = reading("abs_magnetization", "1", b, magnetisations, func(m moments) float64 { return m.AbsM })
	p.SpecificHeat = reading("specific_heat", "nat", b, energies,
		func(m moments) float64 { return m.observables(sites, t).specificHeat })
	p.Susceptibility = reading("susceptibility", "1/energy", b, squares,
		func(m moments) float64 { return m.observables(sites, t).susceptibility })
	p.Binder = reading("binder", "1", b, squares, func(m moments) float64 { return m.observables(sites, t).binder })
}
