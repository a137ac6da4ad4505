package dataset

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestText(t *testing.T) {
	s, err := Text("bäcäbx?", 3)
	if err != nil {
		t.Fatal(err)
	}
	want := &Set{N: 2, Shape: []int{3}, DType: "int64", X: []float32{1, 4, 2, 4, 1, 3}, Labels: []int32{4, 2, 4, 1, 3, 0},
		Classes: 5, Alphabet: []rune("?bcxä")}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Error(diff)
	}
	if s.Positions() != 3 || s.Select([]int{1}).Labels[0] != 1 {
		t.Errorf("%d labels an example, second example %+v", s.Positions(), s.Select([]int{1}))
	}
	uniform := math.Log(2)
	if s, err = Text("abababa", 2); err != nil || math.Abs(s.Summarize().LabelEntropy-uniform) > 1e-12 {
		t.Errorf("entropy %g, expected %g, error %v", s.Summarize().LabelEntropy, uniform, err)
	}
	for _, bad := range []struct{ text, message string }{{"abc", "at least 4 characters"}, {"ab\xffcd", "UTF-8"}} {
		if _, err := Text(bad.text, 3); err == nil || !strings.Contains(err.Error(), bad.message) {
			t.Errorf("%q: error %v, expected %q", bad.text, err, bad.message)
		}
	}
}

// The sentences have the grammar's words with the grammar's probabilities: an
// ideal code of them has the entropy rate that the documentation states.
func TestSentences(t *testing.T) {
	s, err := Make("sentences", Options{Examples: 4000, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, x := range s.X {
		b.WriteRune(s.Alphabet[int(x)])
	}
	text, nats, slots := b.String(), 0.0, 0
	for rest := text; len(rest) > 40; slots++ { // the last sentence may be cut
		words := grammar[slots%len(grammar)]
		total, hit := 0.0, -1
		for i, w := range words {
			total += 1 / float64(i+1)
			if strings.HasPrefix(rest, w) {
				hit = i
			}
		}
		if hit < 0 {
			t.Fatalf("slot %d has none of its words: %.20q", slots, rest)
		}
		rest = rest[len(words[hit]):]
		nats += math.Log(total * float64(hit+1))
	}
	if rate := nats / float64(len(text)); math.Abs(rate-0.2322) > 0.0015 { // 3 standard errors
		t.Errorf("%.5f nats a character, expected 0.2322", rate)
	}
}

// Integers of the shape of integer features, and any called labels, are a label for
// each position; other tables of integers stay targets.
func TestLabelsOfPositions(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name      string
		x, y      any
		answer    string
		positions int
	}{
		{"tokens", []int64{1, 2, 3, 4, 5, 6}, []int32{2, 3, 0, 5, 6, 0}, "y", 3},
		{"named", []float32{.1, .2, .3, .4, .5, .6}, []int64{2, 3, 0, 5, 6, 0}, "labels", 3},
		{"targets", []float32{.1, .2, .3, .4, .5, .6}, []int64{2, 3, 0, 5, 6, 0}, "y", 0},
		{"real", []int64{1, 2, 3, 4, 5, 6}, []float32{2, 3, 0, 5, 6, 0}, "y", 0},
	} {
		path := filepath.Join(dir, c.name+".npz")
		if err := WriteArrays(path, []Array{{"x", []int{2, 3}, c.x}, {c.answer, []int{2, 3}, c.y}}); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if s.Positions() != c.positions || (s.Outputs == 3) != (c.positions == 0) {
			t.Errorf("%s: %d labels and %d targets an example, expected %d labels", c.name, s.Positions(), s.Outputs, c.positions)
		}
	}
	path := filepath.Join(dir, "wrong.npz")
	if err := WriteArrays(path, []Array{{"x", []int{1, 2}, []int64{1, 2}}, {"labels", []int{1, 2}, []float32{1, .5}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), `array "labels"`) {
		t.Errorf("half a label: error %v", err)
	}
}
