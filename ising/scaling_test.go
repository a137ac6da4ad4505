package ising

import (
	"context"
	"testing"
)

func testScaling(t *testing.T, sizes []int, sweeps, replicas int, tc, exponent float64) {
	data, err := ScalingPoints(context.Background(), sizes, 2.27, sweeps, replicas, 1)
	if err != nil {
		t.Fatal(err)
	}
	s, err := FiniteSizeScaling(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Crossings {
		t.Logf("%d-%d cross at %v, U = %.4f", c.Small, c.Large, c.Temperature, c.Binder)
	}
	within(t, "Tc", s.Tc, Tc, tc)
	within(t, "beta/nu", s.Beta, 1.0/8, exponent)
	within(t, "gamma/nu", s.Gamma, 7.0/4, exponent)
	within(t, "1/nu", s.Nu, 1, 4*exponent)
}

func TestScalingQuick(t *testing.T) {
	statistical(t)
	testScaling(t, []int{8, 12, 16, 24}, 3000, 2, 1e-2, 0.06)
}

func TestScalingLong(t *testing.T) {
	if !*long {
		t.Skip("needs -long: several minutes")
	}
	testScaling(t, []int{16, 24, 32, 48, 64, 96}, 15_000, 4, 1e-3, 1.6e-2)
}
