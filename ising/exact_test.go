package ising

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

type reference struct {
	Finite []struct {
		L                                          int
		T, Energy_per_spin, Specific_heat_per_spin json.Number
	}
	Infinite []struct{ T, Energy_per_spin, Magnetization json.Number }
}

func number(t *testing.T, n json.Number) float64 {
	t.Helper()
	x, err := n.Float64()
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func readReference(t *testing.T) (r reference) {
	t.Helper()
	text, err := os.ReadFile("testdata/ising.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s: got %.15g, want %.15g ± %.2g", what, got, want, tolerance)
	}
}

func TestExactAgainstReference(t *testing.T) {
	r := readReference(t)
	for _, p := range r.Finite {
		e, c := Torus(p.L, number(t, p.T))
		near(t, "energy", e, number(t, p.Energy_per_spin), 2e-13)
		near(t, "specific heat", c, number(t, p.Specific_heat_per_spin), 2e-11)
	}
	for _, p := range r.Infinite {
		temperature := number(t, p.T)
		near(t, "plane energy", Plane(temperature), number(t, p.Energy_per_spin), 1e-13)
		m := Magnetisation(temperature)
		near(t, "magnetisation", m, number(t, p.Magnetization), 1e-13)
		if m > 0 {
			near(t, "inverse", MagnetisationTemperature(m), temperature, 1e-12)
		}
	}
}
