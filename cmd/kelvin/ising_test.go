package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/ising"
)

// spinsNPY writes spins of a shape to a file.
func spinsNPY(t *testing.T, shape string, spins []int8) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spins.npy")
	writeNPY(t, path, "|i1", strings.Trim(shape, "()"), spins)
	return path
}

// TestIsingThermometer reads snapshots of a known temperature from a file.
func TestIsingThermometer(t *testing.T) {
	s, err := ising.New(ising.Config{Model: ising.Model{Lattice: ising.Square, Size: 64, Coupling: 1}, Temperatures: []float64{2.5},
		Algorithm: ising.SwendsenWang, Sweeps: 100, Interval: 1, Replicas: 2, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	var spins []int8
	for r := range 2 {
		one, err := s.Spins(0, r)
		if err != nil {
			t.Fatal(err)
		}
		spins = append(spins, one...)
	}
	bits := make([]int8, 64*64)
	for i := range bits {
		bits[i] = (spins[i] + 1) / 2
	}
	for _, path := range []string{spinsNPY(t, "(2, 64, 64)", spins), spinsNPY(t, "(64, 64)", bits)} {
		var stdout, stderr bytes.Buffer
		if code := run([]string{"ising", "thermometer", path, "--json"}, &stdout, &stderr); code != exitDone {
			t.Fatalf("exit status %d: %s", code, stderr.String())
		}
		var doc struct {
			Schema      string
			Size        int
			Temperature struct {
				Value, Stderr float64
				Valid         bool
			}
		}
		if err := json.Unmarshal(stdout.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		if r := doc.Temperature; doc.Schema != schema || doc.Size != 64 || !r.Valid || math.Abs(r.Value-2.5) > 4*r.Stderr || r.Stderr > 0.2 {
			t.Errorf("%+v", doc)
		}
	}
	for want, path := range map[string]string{
		"2×8 spins: expected numbers from 4":                       spinsNPY(t, "(2, 8)", make([]int8, 16)),
		"expected an array of shape H×W or n×H×W, got [1 1 2 8 1]": spinsNPY(t, "(1, 1, 2, 8, 1)", make([]int8, 16)),
		"expected spins ±1":                                        spinsNPY(t, "(4, 4)", bytes8(3)),
		"needs 64 bytes of data, got 16":                           spinsNPY(t, "(8, 8)", make([]int8, 16)),
		"2^62":                                                     spinsNPY(t, "(4611686018427387904, 4611686018427387904)", nil),
	} {
		var stdout, stderr bytes.Buffer
		if code := run([]string{"ising", "thermometer", path}, &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), want) {
			t.Errorf("status %d, %q; want %q", code, stderr.String(), want)
		}
	}
}

func bytes8(v int8) []int8 {
	list := make([]int8, 16)
	for i := range list {
		list[i] = v
	}
	return list
}
