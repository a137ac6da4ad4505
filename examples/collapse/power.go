package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/kelvin-ml/kelvin/collapse"
)

// drawPower draws how often the monitor finds a change of temperature, against its
// size and the number of documents.
func drawPower(file string) error {
	const repeats = 60
	p := plot.New()
	p.X.Label.Text = "temperature at which words are drawn"
	p.Y.Label.Text = "share found"
	p.Y.Min, p.Y.Max = 0, 1
	p.Legend.Top = true
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	seed := uint64(0)
	for _, docs := range []int{100, 200, 1000} {
		var points plotter.XYs
		for _, t := range []float64{0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1} {
			found := 0
			for range repeats {
				seed++
				first, err := words(dir, "0.jsonl", 2*docs, 1, seed)
				if err != nil {
					return err
				}
				next, err := words(dir, "1.jsonl", docs, t, seed)
				if err != nil {
					return err
				}
				list, err := collapse.Monitor(context.Background(), []*collapse.Corpus{first, next}, seed)
				if err != nil {
					return err
				}
				if list[1].Verdict != collapse.Stable {
					found++
				}
			}
			points = append(points, plotter.XY{X: t, Y: float64(found) / repeats})
			fmt.Printf("%d documents at %g: found in %d of %d\n", docs, t, found, repeats)
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		line.Width = vg.Points(float64(docs)/500 + 0.6)
		p.Add(line, dots)
		p.Legend.Add(fmt.Sprintf("%d documents of some 30 words", docs), line)
	}
	return p.Save(16*vg.Centimeter, 9*vg.Centimeter, file)
}

// words writes a corpus whose words are drawn at a temperature, and reads it.
func words(dir, name string, docs int, t float64, seed uint64) (*collapse.Corpus, error) {
	path := filepath.Join(dir, name)
	if err := writeWords(path, docs, t, seed); err != nil {
		return nil, err
	}
	return collapse.ReadCorpus(context.Background(), path, docs, seed)
}

// writeWords writes documents of some thirty of 500 words, whose frequencies at
// temperature 1 follow Zipf's law.
func writeWords(path string, docs int, t float64, seed uint64) error {
	r := rand.New(rand.NewPCG(seed, math.Float64bits(t)))
	var cumulative []float64
	sum := 0.0
	for i := range 500 {
		sum += math.Pow(1/float64(i+2), 1/t)
		cumulative = append(cumulative, sum)
	}
	var b strings.Builder
	for range docs {
		b.WriteByte('"')
		for range 20 + r.IntN(20) {
			u, w := r.Float64()*sum, 0
			for cumulative[w] < u {
				w++
			}
			fmt.Fprintf(&b, "w%d ", w)
		}
		b.WriteString("\"\n")
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// writeGenerations writes three corpora, each sampled at a lower temperature.
func writeGenerations(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i, t := range []float64{1, 0.97, 0.9} {
		if err := writeWords(filepath.Join(dir, fmt.Sprintf("g%d.jsonl", i)), 20000, t, 1); err != nil {
			return err
		}
	}
	return nil
}
