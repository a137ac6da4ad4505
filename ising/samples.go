package ising

import (
	"context"
	"fmt"
)

// Samples are labelled configurations of one size.
type Samples struct {
	Size        int
	Spins       []int8    // one configuration after the other, row by row
	Temperature []float64 // of each configuration
}

// Len is the number of configurations.
func (s *Samples) Len() int { return len(s.Temperature) }

// Configuration returns the spins of one.
func (s *Samples) Configuration(i int) []int8 {
	n := s.Size * s.Size
	return s.Spins[i*n : (i+1)*n]
}

// Magnetisation returns Σs/N of one.
func (s *Samples) Magnetisation(i int) float64 {
	sum := 0
	for _, x := range s.Configuration(i) {
		sum += int(x)
	}
	return float64(sum) / float64(s.Size*s.Size)
}

// Sample draws perTemperature configurations at each temperature from the
// square lattice by Swendsen-Wang, which tunnels between the two signs, a few
// autocorrelation times apart.
func Sample(ctx context.Context, size int, temperatures []float64, perTemperature int, seed uint64) (*Samples, error) {
	const warmup, interval = 60, 6
	if perTemperature < 1 {
		return nil, fmt.Errorf("%d configurations a temperature: expected at least one", perTemperature)
	}
	sim, err := New(Config{Model: Model{Lattice: Square, Size: size, Coupling: 1}, Temperatures: temperatures, Algorithm: SwendsenWang,
		Sweeps: perTemperature * interval, Warmup: warmup, Interval: perTemperature * interval, Replicas: 1, Seed: seed})
	if err != nil {
		return nil, err
	}
	out := &Samples{Size: size}
	for k := range perTemperature {
		if err := sim.Advance(ctx, warmup+(k+1)*interval); err != nil {
			return nil, err
		}
		for point, t := range temperatures {
			spins, err := sim.Spins(point, 0)
			if err != nil {
				return nil, err
			}
			out.Spins = append(out.Spins, spins...)
			out.Temperature = append(out.Temperature, t)
		}
	}
	return out, nil
}
