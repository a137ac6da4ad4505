package collapse

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// corpus writes documents of a language at a temperature, in memory.
func corpus(seed uint64, docs int, temperature float64) *Corpus {
	r := rand.New(rand.NewPCG(seed, 11))
	p := make([]float64, 500)
	for i := range p {
		p[i] = 1 / float64(i+2)
	}
	sum := floats.Sum(p)
	floats.Scale(1/sum, p)
	q := tempered(p, temperature)
	c := &Corpus{Path: fmt.Sprint(seed), Documents: docs}
	for range docs {
		// A document has a subject: it repeats a word more often than chance.
		subject := draw(q, r)
		words := make([]string, 20+r.IntN(20))
		for i := range words {
			w := draw(q, r)
			if r.IntN(8) == 0 {
				w = subject
			}
			words[i] = fmt.Sprint("w", w)
		}
		c.docs = append(c.docs, words)
	}
	return c
}

func monitor(t *testing.T, corpora ...*Corpus) []Monitored {
	t.Helper()
	list, err := Monitor(t.Context(), corpora, 1)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestVendi(t *testing.T) {
	// The examples that the score was published with, to four places, cut off.
	x := []float64{0, 0, 10, 10, 20, 20}
	k := mat.NewSymDense(6, nil)
	for i := range x {
		for j := range x {
			k.SetSym(i, j, math.Exp(-math.Abs(x[i]-x[j])))
		}
	}
	for want, k := range map[string]mat.Symmetric{"2.9999": k, "2.1573": mat.NewSymDense(3, []float64{1, 0.9, 0, 0.9, 1, 0, 0, 0, 1})} {
		if got, err := Vendi(k); err != nil || fmt.Sprintf("%.4f", math.Floor(got*1e4)/1e4) != want {
			t.Errorf("%.4f, %v, published %s", got, err, want)
		}
	}
	vectors := [][]float64{{1, 0, 0}, {0.6, 0.8, 0}, {0, 0, 1}}
	gram := mat.NewSymDense(3, nil)
	for i := range vectors {
		for j := range vectors {
			gram.SetSym(i, j, vectors[i][0]*vectors[j][0]+vectors[i][1]*vectors[j][1]+vectors[i][2]*vectors[j][2])
		}
	}
	if want, _ := Vendi(gram); math.Abs(vendiOf(vectors)-want) > 1e-9 {
		t.Errorf("%g from vectors, %g from similarities", vendiOf(vectors), want)
	}
}

func TestMonitor(t *testing.T) {
	list := monitor(t, corpus(1, 3000, 1), corpus(2, 2000, 1), corpus(3, 2000, 0.8), corpus(4, 2000, 1.3))
	for g, want := range []Verdict{Stable, Stable, Collapse, HeatDeath} {
		if list[g].Verdict != want {
			t.Errorf("generation %d: %s, expected %s: %+v", g, list[g].Verdict, want, list[g].Statistics)
		}
	}
	of := statistics(list[2].Statistics)
	base := statistics(list[0].Statistics)
	for _, name := range []string{"entropy", "distinct-1", "distinct-2", "tail mass", "energy", "temperature"} {
		if s := of[name]; s.Value >= base[name].Value || s.Adjusted > 0.01 {
			t.Errorf("%s: %v after %v, p = %g", name, s, base[name], s.Adjusted)
		}
	}
	within(t, "temperature", of["temperature"].Reading, 0.8, 4)
	if f := list[2].Fresh; !f.Valid() || math.Abs(math.Pow(1/(1+f.Value), 2)-0.8) > 0.05 {
		t.Errorf("fresh %v", f)
	}
}

// TestMonitorCoverage counts how often intervals hold the temperature at which
// words, and points, were drawn.
func TestMonitorCoverage(t *testing.T) {
	if testing.Short() {
		t.Skip("statistics alone: ten times as slow under the race detector")
	}
	repeats := 40
	if *long {
		repeats = 200
	}
	cloud := func(seed uint64, n int, temperature float64) *Embeddings {
		r := rand.New(rand.NewPCG(seed, 2))
		e := &Embeddings{Path: fmt.Sprint(seed), Rows: n}
		for range n {
			x := make([]float64, 4)
			for j := range x {
				x[j] = r.NormFloat64() * math.Sqrt(temperature)
			}
			e.x = append(e.x, x)
		}
		return e
	}
	for _, c := range []struct {
		kind string
		list func(k uint64) ([]Monitored, error)
	}{
		{"words", func(k uint64) ([]Monitored, error) {
			return Monitor(t.Context(), []*Corpus{corpus(3*k, 400, 1), corpus(3*k+1, 300, 0.95)}, k)
		}},
		{"points", func(k uint64) ([]Monitored, error) {
			return MonitorEmbeddings(t.Context(), []*Embeddings{cloud(3*k, 500, 1), cloud(3*k+1, 300, 0.95)}, k)
		}},
	} {
		inside, mean := 0, 0.0
		for k := range repeats {
			list, err := c.list(uint64(k))
			if err != nil {
				t.Fatal(err)
			}
			s := statistics(list[1].Statistics)["temperature"]
			mean += s.Value / float64(repeats)
			if math.Abs(s.Value-0.95) < 2*s.StdErr {
				inside++
			}
		}
		t.Logf("%s: within two standard errors %d of %d, mean %.4f", c.kind, inside, repeats, mean)
		if share := float64(inside) / float64(repeats); share < 0.85 {
			t.Errorf("%s: two standard errors hold the temperature in %.1f %%", c.kind, 100*share)
		}
	}
}

// TestMonitorAlarms counts verdicts on corpora that did not change.
func TestMonitorAlarms(t *testing.T) {
	repeats := 60
	switch {
	case *long:
		repeats = 500
	case testing.Short(): // under the race detector
		repeats = 5
	}
	verdicts, small := 0, 0
	for k := range repeats {
		list := monitor(t, corpus(uint64(1000+2*k), 160, 1), corpus(uint64(1001+2*k), 80, 1))
		if list[1].Verdict != Stable {
			verdicts++
		}
		if statistics(list[1].Statistics)["entropy"].PValue < 0.05 {
			small++
		}
	}
	t.Logf("%d verdicts, %d p-values of the entropy below 0.05, in %d", verdicts, small, repeats)
	n := float64(repeats)
	if most := 0.05*n + 3*math.Sqrt(0.05*0.95*n); float64(verdicts) > most || float64(small) > most {
		t.Errorf("%d verdicts and %d small p-values in %d, expected at most %.0f", verdicts, small, repeats, most)
	}
}

// TestMonitorPower logs how often a change of temperature is found.
func TestMonitorPower(t *testing.T) {
	if !*long {
		t.Skip("needs -long: half a minute")
	}
	last := 0
	for _, temperature := range []float64{0.99, 0.97, 0.95, 0.9} {
		found := 0
		for k := range 100 {
			list := monitor(t, corpus(uint64(5000+2*k), 400, 1), corpus(uint64(5001+2*k), 200, temperature))
			if list[1].Verdict == Collapse {
				found++
			}
		}
		t.Logf("temperature %g: found in %d of 100", temperature, found)
		if found < last {
			t.Errorf("less is found at %g", temperature)
		}
		last = found
	}
	if last < 95 {
		t.Errorf("a temperature of 0.9 is found %d times in 100", last)
	}
}

func TestMonitorEmbeddings(t *testing.T) {
	cloud := func(seed uint64, n int, s float64) *Embeddings {
		r := rand.New(rand.NewPCG(seed, 1))
		e := &Embeddings{Path: fmt.Sprint(seed), Rows: n}
		for range n {
			x := make([]float64, 8)
			for j := range x {
				x[j] = 1 + s*r.NormFloat64()
			}
			e.x = append(e.x, x)
		}
		return e
	}
	list, err := MonitorEmbeddings(t.Context(), []*Embeddings{cloud(1, 3000, 1), cloud(2, 1500, 1), cloud(3, 1500, 0.8), cloud(4, 1500, 1.3)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for g, want := range []Verdict{Stable, Stable, Collapse, HeatDeath} {
		if list[g].Verdict != want {
			t.Errorf("generation %d: %s, expected %s: %+v", g, list[g].Verdict, want, list[g].Statistics)
		}
	}
	within(t, "temperature", statistics(list[2].Statistics)["temperature"].Reading, 0.64, 4)
	if p, r := statistics(list[2].Statistics)["precision"], statistics(list[2].Statistics)["recall"]; p.Value < 0.9 || r.Value > statistics(list[0].Statistics)["recall"].Value-0.1 {
		t.Errorf("shrunk: precision %v, recall %v", p, r)
	}
}

// TestEmbeddingFiles reads two arrays of a folder, and refuses what is no number.
func TestEmbeddingFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, shape string, values ...float32) {
		header := "{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }"
		header += strings.Repeat(" ", 117-len(header)) + "\n"
		b := append([]byte("\x93NUMPY\x01\x00\x76\x00"), header...)
		for _, v := range values {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if IsEmbeddings(dir) {
		t.Error("an empty folder holds embeddings")
	}
	write("a.npy", "2, 3", 1, 2, 3, 4, 5, 6)
	write("b.npy", "1, 3", 7, 8, 9)
	e, err := ReadEmbeddings(t.Context(), dir, 100, 1)
	if err != nil || e.Rows != 3 || len(e.x) != 3 || !IsEmbeddings(dir) {
		t.Errorf("%+v, %v", e, err)
	}
	write("b.npy", "1, 3", 7, float32(math.NaN()), 9)
	if _, err := ReadEmbeddings(t.Context(), dir, 100, 1); err == nil || !strings.Contains(err.Error(), "row 0: feature 1 is NaN") {
		t.Error(err)
	}
	write("b.npy", "1, 2", 7, 8)
	if _, err := ReadEmbeddings(t.Context(), dir, 100, 1); err == nil || !strings.Contains(err.Error(), "expected 3 features") {
		t.Error(err)
	}
}

func TestReadCorpus(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	lines := write("a.jsonl", `"Über Öl, it's 20 °C."`+"\n\n"+`{"text":"two words","id":3}`+"\n"+`{"text":""}`+"\n")
	c, err := ReadCorpus(t.Context(), lines, 10, 1)
	if err != nil || c.Documents != 3 || c.Empty != 1 || len(c.docs) != 2 {
		t.Fatalf("%+v, %v", c, err)
	}
	write("b.txt", "one\ndocument \xff bad")
	write("ignored.bin", "nothing")
	if c, err = ReadCorpus(t.Context(), dir, 10, 1); err != nil || c.Documents != 4 || c.Invalid != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = ReadCorpus(t.Context(), filepath.Join(dir, "b.txt"), 1, 1); err != nil || c.Documents != 2 || len(c.docs) != 1 {
		t.Errorf("lines of a text: %+v, %v", c, err)
	}
	long := write("long.txt", strings.Repeat("x ", maxDocument)+"\nshort\n")
	if c, err = ReadCorpus(t.Context(), long, 10, 1); err != nil || c.Documents != 2 || c.Cut != 1 {
		t.Errorf("a gigantic line: %+v, %v", c, err)
	}
	for text, want := range map[string]string{
		`{"id":1}`: `line 1: expected the field "text"`, "{\n": "line 1: expected a JSON string or object", "": "found none",
		`{"text":"` + strings.Repeat("x", maxDocument) + `"}`: "line 1 has more than",
	} {
		if _, err := ReadCorpus(t.Context(), write("bad.jsonl", text), 10, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, got %v", want, err)
		}
	}
	empty := t.TempDir()
	if _, err := ReadCorpus(t.Context(), empty, 10, 1); err == nil || !strings.Contains(err.Error(), "expected documents") {
		t.Errorf("an empty folder: %v", err)
	}
}

func FuzzTextOf(f *testing.F) {
	f.Add([]byte(`{"text":"a"}`))
	f.Add([]byte(`"\ud800"`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if text, err := textOf(line); err == nil {
			wordsOf(text)
		}
		wordsOf(line)
	})
}
