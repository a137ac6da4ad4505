package ising

import (
	"fmt"
	"math"

	"github.com/kelvin-ml/kelvin/thermo"
)

// Point is what was measured at one temperature, per spin, with errors that
// count the correlation of the series.
type Point struct {
	Temperature  float64 `json:"temperature"`
	Measurements int     `json:"measurements"` // of each replica
	// Order says which magnetisation m is: "uniform", or "staggered", the
	// difference of the sublattices, for an antiferromagnet that has two.
	Order               string         `json:"order_parameter"`
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
	var updates, busy float64
	p := Point{Temperature: t, Measurements: math.MaxInt, Order: "uniform"}
	if s.Config.Model.staggered() {
		p.Order = "staggered"
	}
	for _, c := range chains {
		updates += float64(c.updates)
		busy += float64(c.busy.Nanoseconds())
		p.Measurements = min(p.Measurements, c.measured)
	}
	p.FlipsPerNs = updates / math.Max(busy, 1)
	m := s.Config.measured(chains)
	if len(m.blocks) == 0 {
		return Point{}, false
	}
	p.read(m, s.Config.Model)
	p.MeasuredTemperature = s.measuredTemperature(chains)
	x := s.Config.memoryAt(t)
	if least := x.warmup(s.Config.Model.Size, float64(s.Config.Replicas)); float64(s.Done()) < least && p.MeasuredTemperature.Valid() {
		p.MeasuredTemperature.Invalid = fmt.Sprintf("%d sweeps do not forget the start: %s are needed (%s)", s.Done(), roundUp(least), x.remedy)
	}
	p.doubt(s.Config)
	return p, true
}

// measured gathers what the chains of a temperature measured.
func (c Config) measured(chains []*chain) measured {
	var blocks []block
	if c.Replicas >= minReplicas {
		per := c.perGroup()
		for _, ch := range chains {
			for i, g := range ch.groups {
				if n := float64(min(per, ch.replicas-i*per) * ch.measured); n > 0 {
					blocks = append(blocks, block{g.over(n), n})
				}
			}
		}
		return newMeasured(blocks, true)
	}
	series := make([]*batches, len(chains))
	for i, ch := range chains {
		series[i] = &ch.series
	}
	for _, b := range average(series) {
		blocks = append(blocks, block{b, 1})
	}
	return newMeasured(blocks, false)
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
func (p *Point) read(x measured, m Model) {
	t, sites, mean := p.Temperature, float64(m.sites()), x.mean
	reference := m.energy(m.reference())
	infinite := math.Inf(1)
	energy := func(m moments) float64 { return m.E }
	absM := func(m moments) float64 { return m.AbsM }
	square := func(m moments) float64 { return m.M2 }
	energies, squares := mean.E2-mean.E*mean.E, mean.M4-mean.M2*mean.M2
	p.Energy = x.reading("energy", "energy", energy, energy, energies, -infinite, infinite)
	p.Energy.Value += reference
	p.AbsMagnetisation = x.reading("abs_magnetization", "1", absM, absM, mean.M2-mean.AbsM*mean.AbsM, 0, 1)
	p.SpecificHeat = x.reading("specific_heat", "nat",
		func(m moments) float64 { return m.observables(sites, t).specificHeat }, energy, energies, 0, infinite)
	p.Susceptibility = x.reading("susceptibility", "1/energy",
		func(m moments) float64 { return m.observables(sites, t).susceptibility }, square, squares, 0, infinite)
	p.Binder = x.reading("binder", "1",
		func(m moments) float64 { return m.observables(sites, t).binder }, square, squares, -infinite, 2.0/3)
}
