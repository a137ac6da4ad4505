// Package dataset holds labelled examples in memory: it reads them from the
// files people already have (npz, npy, CSV, IDX), makes seeded synthetic ones,
// and carries one small real set, the UCI handwritten digits.
//
// Readers trust nothing that a file claims: sizes are checked against the bytes
// that are really there before memory is allocated, and every error names the
// file, the array or line, and what was expected.
package dataset

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// MaxClasses bounds class labels, so that a damaged file cannot make a caller
// allocate by a nonsensical number of classes.
const MaxClasses = 1 << 20

// A Set is N examples with, at most, one kind of answer each: class labels
// (Labels), one an example or one for each position of a sequence, or
// real-valued targets (Y).
type Set struct {
	X        []float32 // features, N × the product of Shape, row-major; of a sequence the tokens
	N        int       // number of examples
	Shape    []int     // shape of one example: [64], [1 28 28]
	DType    string    // type of the features as stored: "float32", "uint8", "text" …
	Labels   []int32   // N × Positions classes 0 … Classes-1; nil when there are none
	Classes  int       // largest label + 1; 0 without labels
	Y        []float32 // N × Outputs real-valued targets; nil when there are none
	Outputs  int       // targets per example; 0 without targets
	Alphabet []rune    // of a text, the character of each token; nil otherwise
}

// Positions returns the number of labels of an example: 1, or one for each
// position of a sequence; 0 without labels.
func (s *Set) Positions() int { return len(s.Labels) / s.N }

// Features returns the number of features of one example.
func (s *Set) Features() int { return product(s.Shape) }

// Open reads a set from a file, chosen by the name's ending:
//
//	.npz               arrays named as docs/commands/data.md lists: x and y, say
//	.npy               one array of features
//	.csv, .csv.gz      one example a line, the answer in one column
//	idx, ubyte (.gz)   the MNIST format; a file "…images-idx3…" brings its
//	                   "…labels-idx1…" sibling along when that is there
//
// "features.npy,labels.npy" (or two IDX files) reads features and answers from
// two files. Integer answers are class labels, real ones are targets. Features
// and targets must be finite.
func Open(path string) (*Set, error) {
	first, second, pair := strings.Cut(path, ",")
	if pair {
		if _, err := os.Stat(path); err == nil {
			first, second, pair = path, "", false // a name that contains a comma
		}
	}
	set, err := open(first, second, pair)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return set, nil
}

func open(path, labels string, pair bool) (*Set, error) {
	format := formatOf(path)
	if pair && (format == "npz" || format == "csv") {
		return nil, fmt.Errorf("expected one %s file: it carries its labels itself", format)
	}
	switch format {
	case "npz":
		return openNPZ(path)
	case "csv":
		return openCSV(path)
	case "npy", "idx":
		x, err := openArray(path)
		if err != nil {
			return nil, err
		}
		if !pair && format == "idx" {
			labels = siblingLabels(path)
		}
		if labels == "" {
			return assemble(x, nil, format == "idx")
		}
		y, err := openArray(labels)
		if err != nil {
			return nil, err
		}
		return assemble(x, y, format == "idx")
	}
	return nil, fmt.Errorf("expected a name that ends in .npz, .npy, .csv, .csv.gz, idx or ubyte (.gz)")
}

// formatOf tells the format by the name alone.
func formatOf(path string) string {
	name := strings.TrimSuffix(strings.ToLower(filepath.Base(path)), ".gz")
	switch {
	case strings.HasSuffix(name, ".npz"):
		return "npz"
	case strings.HasSuffix(name, ".npy"):
		return "npy"
	case strings.HasSuffix(name, ".csv"):
		return "csv"
	case strings.HasSuffix(name, "ubyte"), strings.HasSuffix(name, ".idx"),
		strings.HasSuffix(name, "-idx1"), strings.HasSuffix(name, "-idx3"):
		return "idx"
	}
	return ""
}

// openArray reads one npy or IDX file.
func openArray(path string) (*array, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(path)
	switch formatOf(path) {
	case "npy":
		return parseNPY(name, data)
	case "idx":
		return parseIDX(name, data)
	}
	return nil, fmt.Errorf("%s: expected a .npy or IDX file", name)
}

// assemble joins an array of features and an array of answers (or nil) to a
// set. pixels asks for unsigned bytes to be scaled to [0, 1].
func assemble(x, y *array, pixels bool) (*Set, error) {
	if len(x.shape) == 0 {
		return nil, fmt.Errorf("array %q: expected examples along the first axis, got a single number", x.name)
	}
	s := &Set{N: x.shape[0], Shape: append([]int(nil), x.shape[1:]...), DType: x.dtype.name()}
	if len(s.Shape) == 0 {
		s.Shape = []int{1}
	}
	if s.N == 0 || s.Features() == 0 {
		return nil, fmt.Errorf("array %q: expected at least one example and one feature, got shape %v", x.name, x.shape)
	}
	var err error
	if s.X, err = x.float32s(); err != nil {
		return nil, err
	}
	if pixels && s.DType == "uint8" {
		for i := range s.X {
			s.X[i] /= 255
		}
	}
	if y == nil {
		return s, nil
	}
	return s, s.answer(y, x.dtype.integer() && len(x.shape) == 2 && slices.Equal(x.shape, y.shape))
}

// answer takes y as class labels when it is called that, or is one integer an
// example, or one for each token of the features; and as real-valued targets
// otherwise.
func (s *Set) answer(y *array, tokens bool) error {
	if len(y.shape) == 0 || y.shape[0] != s.N {
		return fmt.Errorf("array %q: expected %d examples as in the features, got shape %v", y.name, s.N, y.shape)
	}
	outputs := product(y.shape[1:])
	if outputs == 0 {
		return fmt.Errorf("array %q: expected at least one value per example, got shape %v", y.name, y.shape)
	}
	named := y.name == "labels" || y.name == "label"
	if named || y.dtype.kind != 'f' && outputs == 1 || y.dtype.integer() && tokens {
		labels, err := y.labels()
		if err != nil {
			return err
		}
		s.setLabels(labels)
		return nil
	}
	targets, err := y.float32s()
	if err != nil {
		return err
	}
	s.Y, s.Outputs = targets, outputs
	return nil
}

func (s *Set) setLabels(labels []int32) {
	s.Labels = labels
	for _, l := range labels {
		s.Classes = max(s.Classes, int(l)+1)
	}
}

// Select returns the examples of the given indices, copied, in that order.
// Classes stays that of s.
func (s *Set) Select(indices []int) *Set {
	features, positions := s.Features(), s.Positions()
	t := &Set{N: len(indices), Shape: s.Shape, DType: s.DType, Classes: s.Classes, Outputs: s.Outputs, Alphabet: s.Alphabet}
	t.X = make([]float32, 0, len(indices)*features)
	for _, i := range indices {
		t.X = append(t.X, s.X[i*features:(i+1)*features]...)
		if s.Labels != nil {
			t.Labels = append(t.Labels, s.Labels[i*positions:(i+1)*positions]...)
		}
		if s.Y != nil {
			t.Y = append(t.Y, s.Y[i*s.Outputs:(i+1)*s.Outputs]...)
		}
	}
	return t
}

// Split shuffles the examples by the seed and returns the last fraction of them
// as test and the others as train. Both keep at least one example. The same
// seed always gives the same split.
func (s *Set) Split(fraction float64, seed uint64) (train, test *Set, err error) {
	if !(fraction > 0 && fraction < 1) {
		return nil, nil, fmt.Errorf("splitting: expected a test fraction between 0 and 1, got %v", fraction)
	}
	if s.N < 2 {
		return nil, nil, fmt.Errorf("splitting: expected at least 2 examples, got %d", s.N)
	}
	order := rand.New(rand.NewPCG(seed, streamSplit)).Perm(s.N)
	tests := min(max(int(math.Round(fraction*float64(s.N))), 1), s.N-1)
	return s.Select(order[:s.N-tests]), s.Select(order[s.N-tests:]), nil
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
