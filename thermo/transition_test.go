package thermo

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestTransition(t *testing.T) {
	rng := rand.New(rand.NewPCG(50, 0))
	const repeats = 2000
	covered := [2]int{}
	for range repeats {
		at := func(value, stderr float64) Reading {
			return Reading{Value: value + stderr*rng.NormFloat64(), StdErr: stderr, ESS: 100}
		}
		tr, err := NewTransition(
			State{Name: "initial", Energy: at(2.3, 0.02), Entropy: at(50, 1), Resolution: "initialisation"},
			State{Name: "trained", Energy: at(0.3, 0.01), Entropy: at(10, 2), Resolution: "posterior"})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range []Reading{tr.Temperature, tr.Heat} {
			if low, high := r.Interval(0.95); low < [2]float64{0.05, 2}[i] && [2]float64{0.05, 2}[i] < high {
				covered[i]++
			}
		}
	}
	for _, c := range covered {
		if p := float64(c) / repeats; p < 0.93 || p > 0.97 {
			t.Errorf("95 %% intervals cover %g", p)
		}
	}
}

func TestTransitionDefects(t *testing.T) {
	a := State{Name: "a", Energy: Reading{Value: 2, StdErr: 0.1}, Entropy: Reading{Value: 5, StdErr: 1}, Resolution: "initialisation"}
	b := State{Name: "b", Energy: Reading{Value: 1, StdErr: 0.1}, Entropy: Reading{Value: 4, StdErr: 1}, Resolution: "posterior"}
	tr, err := NewTransition(a, b)
	if err != nil || !strings.Contains(tr.Temperature.Invalid, "not significantly different from zero") || !tr.Heat.Valid() {
		t.Errorf("%+v, %v", tr, err)
	}
	b.Entropy = Reading{Value: math.Inf(-1)}
	if tr, _ = NewTransition(a, b); !strings.Contains(tr.Temperature.Invalid, "−∞") {
		t.Errorf("%+v", tr.Temperature)
	}
	b.Entropy = Reading{Value: -50, Invalid: "too short"}
	if tr, _ = NewTransition(a, b); !strings.Contains(tr.Temperature.Invalid, "too short") {
		t.Errorf("%+v", tr.Temperature)
	}
	if _, err := json.Marshal(tr); err != nil {
		t.Error(err)
	}
	b.Resolution = ""
	if _, err := NewTransition(a, b); err == nil {
		t.Error("an entropy without resolution is accepted")
	}
	same := Reading{Value: 3}
	if tr, _ = NewTransition(State{Energy: a.Energy, Entropy: same, Resolution: "x"}, State{Energy: a.Energy, Entropy: same, Resolution: "x"}); tr.Temperature.Valid() {
		t.Errorf("equal exact entropies: %+v", tr.Temperature)
	}
}

func ExampleNewTransition() {
	t, err := NewTransition(
		State{Name: "initial", Energy: Reading{Value: 2.31, StdErr: 0.02}, Entropy: Reading{Value: -120}, Resolution: "initialisation"},
		State{Name: "trained", Energy: Reading{Value: 0.31, StdErr: 0.01}, Entropy: Reading{Value: -520, StdErr: 20}, Resolution: "posterior"})
	fmt.Println(t.Temperature, err)
	// Output: 0.00500 ± 0.00026 energy/nat <nil>
}
