package cooling

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// example opens the inputs of one of HotSpot's examples.
func example(t testing.TB, n int, trace string) (*Config, map[string]Material, *Trace) {
	t.Helper()
	dir := filepath.Join("testdata", fmt.Sprintf("example%d", n))
	materials, err := OpenMaterials(filepath.Join(dir, "example.materials"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := OpenConfig(filepath.Join(dir, "example.config"), materials)
	if err != nil {
		t.Fatal(err)
	}
	power, err := OpenTrace(filepath.Join(dir, trace))
	if err != nil {
		t.Fatal(err)
	}
	return config, materials, power
}

func floorplan(t testing.TB, n int) *Floorplan {
	t.Helper()
	f, err := OpenFloorplan(filepath.Join("testdata", fmt.Sprintf("example%d", n), "ev6.flp"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// expected reads what HotSpot printed.
func expected(t testing.TB, name string) (names []string, kelvin []float64) {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", "expected", name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		words := strings.Fields(scanner.Text())
		if len(words) != 2 || words[0] == "Layer" {
			continue
		}
		x, err := strconv.ParseFloat(words[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		names, kelvin = append(names, words[0]), append(kelvin, x)
	}
	return names, kelvin
}

func steady(t testing.TB, m *Model, trace *Trace) (kelvin, power []float64) {
	t.Helper()
	place, err := m.Place(trace.Names)
	if err != nil {
		t.Fatal(err)
	}
	power = place(trace.Mean())
	if kelvin, err = m.Steady(power); err != nil {
		t.Fatal(err)
	}
	if b := m.Balance(kelvin, power); math.Abs(b) > 1e-9 {
		t.Errorf("the heat that leaves differs from the power by %.2g of it", b)
	}
	return kelvin, power
}

func checkBlocks(t *testing.T, m *Model, kelvin []float64, file string) {
	t.Helper()
	names, want := expected(t, file)
	got := m.Temperatures(kelvin)
	if len(got) != len(names) {
		t.Fatalf("%d parts, expected %d", len(got), len(names))
	}
	worst := 0.0
	for i, g := range got {
		if g.Name != names[i] {
			t.Fatalf("part %d is %s, expected %s", i, g.Name, names[i])
		}
		d := math.Abs(g.Kelvin - want[i])
		if worst = max(worst, d); d > 0.02 {
			t.Errorf("%s: %.3f K, HotSpot has %.2f", g.Name, g.Kelvin, want[i])
		}
	}
	t.Logf("%s: largest difference %.4f K", file, worst)
}

func TestBlockModel(t *testing.T) {
	config, _, trace := example(t, 1, "gcc.ptrace")
	m, err := NewBlock(*config, floorplan(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	kelvin, _ := steady(t, m, trace)
	checkBlocks(t, m, kelvin, "ex1_block.steady")
}

func TestGridModel(t *testing.T) {
	config, _, trace := example(t, 2, "gcc.ptrace")
	m, err := NewGrid(*config, DefaultStack(*config, floorplan(t, 2)), false)
	if err != nil {
		t.Fatal(err)
	}
	kelvin, _ := steady(t, m, trace)
	checkBlocks(t, m, kelvin, "ex2_grid64.steady")
	_, cells := expected(t, "ex2_grid64.grid.steady")
	worst := 0.0
	for i, want := range cells {
		worst = max(worst, math.Abs(kelvin[i]-want))
	}
	if t.Logf("%d cells: largest difference %.4f K", len(cells), worst); worst > 0.02 {
		t.Errorf("a cell differs by %.3f K", worst)
	}
}

func TestStackModel(t *testing.T) {
	config, materials, trace := example(t, 3, "example.ptrace")
	layers, err := OpenLayers(filepath.Join("testdata", "example3", "example.lcf"), materials)
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewGrid(*config, layers, true)
	if err != nil {
		t.Fatal(err)
	}
	kelvin, _ := steady(t, m, trace)
	checkBlocks(t, m, kelvin, "ex3_3d.steady")
}

func TestTransient(t *testing.T) {
	config, _, trace := example(t, 1, "gcc.ptrace")
	m, err := NewBlock(*config, floorplan(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	start, _ := steady(t, m, trace)
	want, err := OpenTrace(filepath.Join("testdata", "expected", "ex1_block.ttrace"))
	if err != nil {
		t.Fatal(err)
	}
	place, err := m.Place(trace.Names)
	if err != nil {
		t.Fatal(err)
	}
	step, worst := 0, 0.0
	powers := func(yield func([]float64) bool) {
		for _, p := range trace.Power {
			if !yield(place(p)) {
				return
			}
		}
	}
	err = m.Transient(context.Background(), start, powers, config.Interval, func(kelvin []float64) {
		for i, w := range want.Power[step] {
			worst = max(worst, math.Abs(m.Temperatures(kelvin)[i].Kelvin-w))
		}
		step++
	})
	if err != nil {
		t.Fatal(err)
	}
	if t.Logf("%d steps: largest difference %.4f K", step, worst); worst > 1 || step != len(want.Power) {
		t.Errorf("%d steps differ by up to %.3f K", step, worst)
	}
}
