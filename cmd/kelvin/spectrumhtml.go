package main

import (
	"fmt"

	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
)

// spectrumPage returns the report of one or two checkpoints.
func spectrumPage(docs []spectrumDocument) report.Page {
	page := report.Page{
		Title: "Weight spectra",
		Lead:  "The singular values of every weight matrix, beside those of a random matrix. What lies beyond the random bulk was learned.",
	}
	for _, d := range docs {
		page.Facts = append(page.Facts, report.Fact{Label: "checkpoint", Value: fmt.Sprintf("%s (%s)", d.Checkpoint, d.Format)})
		if d.Summary.Alpha != nil {
			alpha := report.FigureOf("mean alpha of "+d.Checkpoint, *d.Summary.Alpha)
			alpha.Unit = ""
			page.Figures = append(page.Figures, alpha)
		}
		page.Sections = append(page.Sections, d.section(), d.charts())
	}
	return page
}

// section has the table of a checkpoint.
func (d spectrumDocument) section() report.Section {
	s := report.Section{
		Title: d.Checkpoint,
		Text:  fmt.Sprintf("%d matrices: %d with a power-law tail, %d like random matrices.", d.Summary.Matrices, d.Summary.PowerLaws, d.Summary.Random),
		Table: &report.Table{
			Columns: []string{"matrix", "shape", "‖W‖F (θ)", "σ max (θ)", "stable rank (1)", "entropy (nat)", "outliers (count)", "alpha (1)", "p (1)", "why no alpha"},
			Words:   map[int]bool{1: true, 9: true},
		},
	}
	if d.Interrupted {
		s.Text += " Interrupted: some matrices are missing."
	}
	for _, m := range d.Matrices {
		alpha := "-"
		if m.Tail > 0 {
			alpha = thermo.FormatError(m.Alpha.Value, m.Alpha.StdErr)
		}
		s.Table.Rows = append(s.Table.Rows, []string{
			m.label(), shapeText(m.Shape), fmt.Sprintf("%.4g", m.FrobeniusNorm), readingText(m.Spectrum.SpectralNorm),
			readingText(m.Spectrum.StableRank), readingText(m.Spectrum.Entropy), fmt.Sprint(m.Outliers), alpha, m.pText(), m.Alpha.Invalid,
		})
	}
	return s
}

// charts has a picture of every matrix that is not zero.
func (d spectrumDocument) charts() report.Section {
	s := report.Section{
		Title: "Eigenvalues of " + d.Checkpoint,
		Text:  "The share of the eigenvalues of WᵀW above λ. A power law is a straight line; a random matrix with the same bulk ends at its edge.",
	}
	for _, m := range d.Matrices {
		if m.SpectralNorm > 0 {
			s.Charts = append(s.Charts, report.SpectrumChart(m.label(), m.Spectrum))
		}
	}
	return s
}
