package dataset

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func made(t *testing.T, name string, o Options) *Set {
	t.Helper()
	s, err := Make(name, o)
	if err != nil {
		t.Fatal(err)
	}
	check(t, s, nil)
	return s
}

// The same options give the same set, another seed another one, and every set
// has an answer for each example.
func TestMakeIsSeeded(t *testing.T) {
	for _, name := range Names() {
		o, err := Defaults(name)
		if err != nil {
			t.Fatal(err)
		}
		o.Examples, o.Seed = 200, 1
		a, b := made(t, name, o), made(t, name, o)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%s: two runs of one seed differ: %s", name, diff)
		}
		o.Seed = 2
		if cmp.Equal(a, made(t, name, o)) {
			t.Errorf("%s: two seeds give the same set", name)
		}
		if (a.Labels == nil) == (a.Y == nil) || a.N != 200 {
			t.Errorf("%s: %d examples, labels %v, targets %v", name, a.N, a.Labels != nil, a.Y != nil)
		}
	}
}

// Class counts of the 1998 digits as UCI documents them.
func TestDigits(t *testing.T) {
	s := made(t, "digits", Options{})
	m := s.Summarize()
	if diff := cmp.Diff([]int{178, 182, 177, 183, 181, 182, 181, 179, 174, 180}, m.Counts); diff != "" {
		t.Error(diff)
	}
	if s.N != 1797 || s.Features() != 64 || m.Min != 0 || m.Max != 1 || m.Constant != 3 {
		t.Errorf("%d examples, %d features, %+v", s.N, s.Features(), m)
	}
	if math.Abs(m.Mean-4.884164579855314/16) > 1e-6 { // numpy's mean of sklearn's array
		t.Errorf("mean %v", m.Mean)
	}
}

func TestModularAddition(t *testing.T) {
	s := made(t, "modular-addition", Options{Modulus: 7})
	seen := map[[2]int]bool{}
	for i := range s.N {
		a, b := -1, -1
		for j, v := range s.X[i*14:][:14] {
			if v == 1 && j < 7 {
				a = j
			} else if v == 1 {
				b = j - 7
			}
		}
		seen[[2]int{a, b}] = true
		if int(s.Labels[i]) != (a+b)%7 {
			t.Errorf("%d + %d is labelled %d", a, b, s.Labels[i])
		}
	}
	if len(seen) != 49 || s.N != 49 {
		t.Errorf("%d pairs of %d are distinct, want 49", len(seen), s.N)
	}
}

// Without noise exactly one subset of the bits explains the labels: a parity
// of the right 2 of 6 bits always fits, any other fits half of the time.
func TestSparseParity(t *testing.T) {
	s := made(t, "sparse-parity", Options{Examples: 400, Features: 6, Active: 2, Seed: 3})
	fits := 0
	for a := range 6 {
		for b := range a {
			agree := 0
			for i := range s.N {
				if (s.X[i*6+a]*s.X[i*6+b] < 0) == (s.Labels[i] == 1) {
					agree++
				}
			}
			if agree == s.N {
				fits++
			} else if math.Abs(float64(agree)/400-0.5) > 4*0.5/20 {
				t.Errorf("bits %d, %d agree on %d of 400", a, b, agree)
			}
		}
	}
	if fits != 1 {
		t.Errorf("%d pairs of bits explain the labels, want 1", fits)
	}
}

// The linear teacher's noise and signal have the documented variance.
func TestLinearTeacher(t *testing.T) {
	quiet := made(t, "teacher-student-linear", Options{Examples: 5000, Features: 4, Seed: 5})
	loud := made(t, "teacher-student-linear", Options{Examples: 5000, Features: 4, Noise: 0.3, Seed: 5})
	var noise float64
	for i := range quiet.N {
		noise += math.Pow(float64(loud.Y[i]-quiet.Y[i]), 2) / float64(quiet.N)
	}
	if want := 0.09; math.Abs(noise-want) > 4*want*math.Sqrt(2.0/5000) {
		t.Errorf("noise variance %v, want %v", noise, want)
	}
}

func TestMixtureSpread(t *testing.T) {
	s := made(t, "gaussian-mixture", Options{Examples: 6000, Features: 2, Classes: 3, Noise: 0.5, Seed: 6})
	for c := range 3 {
		var class []int
		for i, l := range s.Labels {
			if int(l) == c {
				class = append(class, i)
			}
		}
		if len(class) != 2000 {
			t.Errorf("class %d has %d examples", c, len(class))
		}
		var xs []float32
		for _, i := range class {
			xs = append(xs, s.X[2*i])
		}
		if _, sd, _, _ := moments(xs); math.Abs(sd-0.5) > 4*0.5/math.Sqrt(4000) {
			t.Errorf("class %d: standard deviation %v, want 0.5", c, sd)
		}
	}
}

func TestSplit(t *testing.T) {
	s := made(t, "digits", Options{})
	train, test, err := s.Split(0.2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if train.N+test.N != s.N || test.N != 359 || train.Classes != 10 {
		t.Errorf("split into %d and %d", train.N, test.N)
	}
	again, _, _ := s.Split(0.2, 1)
	if !cmp.Equal(train, again) {
		t.Error("the same seed gives another split")
	}
	for _, fraction := range []float64{0, 1, -1, math.NaN()} {
		if _, _, err := s.Split(fraction, 1); err == nil {
			t.Errorf("fraction %v: no error", fraction)
		}
	}
}

func TestBadOptions(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
	}{
		{"unknown", Options{}},
		{"digits", Options{Examples: 1798}},
		{"digits", Options{Examples: -1}},
		{"two-moons", Options{Features: 3}},
		{"two-moons", Options{Noise: math.NaN()}},
		{"sparse-parity", Options{Features: 3, Active: 4}},
		{"sparse-parity", Options{Noise: 1.5}},
		{"modular-addition", Options{Modulus: 5, Examples: 26}},
		{"modular-addition", Options{Modulus: 1}},
		{"gaussian-mixture", Options{Examples: 1 << 29, Features: 1 << 29}},
		{"teacher-student", Options{Width: 1 << 29}},
	} {
		if _, err := Make(c.name, c.o); err == nil {
			t.Errorf("%s %+v: no error", c.name, c.o)
		}
	}
}
