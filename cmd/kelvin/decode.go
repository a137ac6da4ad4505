package main

import (
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"

	"github.com/kelvin-ml/kelvin/calibration"
	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
)

func newDecodeCommand() *cobra.Command {
	var logits, tokens string
	var asJSON bool
	c := &cobra.Command{
		Use:   "decode-temperature --logits FILE.npy [--tokens FILE.npy]",
		Short: "At what temperature were these tokens sampled, and from how many?",
		Long: `Reads the temperature at which tokens were sampled from logits, with its
profile-likelihood interval, and whether the decoder left out all but the most
probable tokens (top-k or top-p), which would make them read too cold. Without
--tokens it reads only the freezing temperature of the vocabulary: below it a
softmax is left to a few tokens.`,
		Example: "  kelvin decode-temperature --logits z.npy --tokens t.npy --html decoder.html",
		Args:    exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if logits == "" {
				return usagef("expected --logits FILE.npy")
			}
			d, err := decode(c, logits, tokens)
			if err != nil {
				return err
			}
			if err := writePage(c, d.page); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), d)
			}
			return d.print(c.OutOrStdout())
		},
	}
	flags := c.Flags()
	flags.StringVar(&logits, "logits", "", "logits, positions × vocabulary (`npy`); may be larger than memory")
	flags.StringVar(&tokens, "tokens", "", "tokens that were sampled there, integers from 0 (`npy`)")
	addHTMLFlag(c)
	flags.BoolVar(&asJSON, "json", false, "print one JSON document")
	return c
}

// A decodeDocument is what kelvin decode-temperature --json prints.
type decodeDocument struct {
	Schema      string          `json:"schema"`
	Logits      string          `json:"logits"`
	Tokens      string          `json:"tokens,omitempty"`
	N           int             `json:"n"`
	Classes     int             `json:"classes"`
	Temperature *bounded        `json:"temperature,omitempty"`
	Plain       *thermo.Reading `json:"without_truncation,omitempty"`
	Truncation  *truncation     `json:"truncation,omitempty"`
	Freezing    struct {
		Spread      thermo.Reading `json:"spread"`
		Temperature thermo.Reading `json:"temperature"`
	} `json:"freezing"`
	Effective []effectiveTokens `json:"effective_tokens"`
}

type truncation struct {
	Kind   string  `json:"kind"` // none, top-k, top-p
	K      int     `json:"k,omitempty"`
	P      float64 `json:"p,omitempty"`
	PValue float64 `json:"p_value"`
}

type effectiveTokens struct {
	Temperature float64        `json:"temperature"`
	Tokens      thermo.Reading `json:"tokens"`
	Normal      float64        `json:"normal"`
}

func decode(c *cobra.Command, logits, tokens string) (*decodeDocument, error) {
	z, err := dataset.OpenMatrix(logits)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	d := &decodeDocument{Schema: schema, Logits: logits, Tokens: tokens, N: z.Rows, Classes: z.Columns}
	var temperatures []float64
	for k := -12; k <= 12; k++ {
		temperatures = append(temperatures, math.Pow(2, float64(k)/3))
	}
	frozen, err := calibration.Freeze(c.Context(), z, temperatures)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", logits, err)
	}
	d.Freezing.Spread, d.Freezing.Temperature = frozen.Spread, frozen.Temperature
	for _, t := range frozen.Curve {
		d.Effective = append(d.Effective, effectiveTokens{t.Temperature, t.Effective, t.Normal})
	}
	if tokens == "" {
		return d, nil
	}
	chosen, err := dataset.OpenLabels(tokens)
	if err != nil {
		return nil, err
	}
	if len(chosen) != z.Rows {
		return nil, fmt.Errorf("decoding %s: expected a row of logits for every token, got %d rows and %d tokens", logits, z.Rows, len(chosen))
	}
	read, err := calibration.Decode(c.Context(), z, chosen)
	if err != nil {
		return nil, fmt.Errorf("decoding %s with %s: %w", logits, tokens, err)
	}
	b := newBounded(read.Temperature, read.Low, read.High)
	d.Temperature, d.Plain = &b, &read.Plain
	d.Truncation = &truncation{string(read.Truncation), read.K, read.P, read.PValue}
	return d, nil
}

// says describes the truncation.
func (t truncation) says() string {
	switch calibration.Truncation(t.Kind) {
	case calibration.TopK:
		return fmt.Sprintf("top-k, with k of at least %d: all tokens lie above, which has a chance of %s otherwise", t.K, thermo.Format(t.PValue, 2))
	case calibration.TopP:
		return fmt.Sprintf("top-p, with p of about %.4g: all tokens lie within, which has a chance of %s otherwise", t.P, thermo.Format(t.PValue, 2))
	}
	return "none that shows"
}

func (d *decodeDocument) print(w io.Writer) error {
	fmt.Fprintf(w, "%d positions, %d tokens in the vocabulary\n", d.N, d.Classes)
	if t := d.Temperature; t != nil {
		if t.Valid {
			fmt.Fprintf(w, "temperature           %s, 95 %% from %s to %s\n", thermo.FormatError(*t.Value, *t.StdErr), end(t.Low, "0"), end(t.High, "∞"))
		} else {
			fmt.Fprintf(w, "temperature           none: %s\n", t.Reason)
		}
		fmt.Fprintf(w, "truncation            %s\n", d.Truncation.says())
		if d.Truncation.Kind != string(calibration.Whole) {
			fmt.Fprintf(w, "  if it were ignored  %s\n", thermo.FormatError(d.Plain.Value, d.Plain.StdErr))
		}
	}
	fmt.Fprintf(w, "spread of the logits  %s\n", thermo.FormatError(d.Freezing.Spread.Value, d.Freezing.Spread.StdErr))
	fmt.Fprintf(w, "freezes below         %s\n\n", thermo.FormatError(d.Freezing.Temperature.Value, d.Freezing.Temperature.StdErr))
	table := report.Table{Columns: []string{"temperature", "effective tokens", "normal logits"}}
	for _, e := range d.Effective {
		if k := math.Log2(e.Temperature); k == math.Trunc(k) {
			table.Rows = append(table.Rows, []string{fmt.Sprintf("%.4g", e.Temperature), thermo.FormatError(e.Tokens.Value, e.Tokens.StdErr), fmt.Sprintf("%.4g", e.Normal)})
		}
	}
	return table.Print(w)
}

func (d *decodeDocument) page() report.Page {
	measured := report.Line{Name: "these logits", Hotness: 0.1}
	normal := report.Line{Name: "normal logits of this spread", Hotness: 0.8}
	for _, e := range d.Effective {
		measured.Add(e.Temperature, e.Tokens)
		normal.X, normal.Y = append(normal.X, e.Temperature), append(normal.Y, e.Normal)
	}
	page := report.Page{
		Title:   "Decoding " + d.Logits,
		Facts:   []report.Fact{{Label: "logits", Value: fmt.Sprintf("%d positions × %d tokens", d.N, d.Classes)}},
		Figures: []report.Figure{report.FigureOf("freezing temperature", d.Freezing.Temperature), report.FigureOf("spread of the logits", d.Freezing.Spread)},
		Sections: []report.Section{{Title: "Effective number of tokens",
			Text: fmt.Sprintf("exp(entropy) of softmax(z/T), mean over the positions. The vocabulary freezes below T = %.4g, where normal logits would leave it to a few tokens.", d.Freezing.Temperature.Value),
			Charts: []report.Chart{report.LineChart{Caption: "Effective number of tokens against temperature, with two standard errors.", X: "temperature (1)", Y: "effective tokens (count)", LogX: true, LogY: true,
				Lines: []report.Line{measured, normal}}}}},
	}
	if t := d.Temperature; t != nil {
		figure := report.Figure{Label: "decoding temperature", Unit: "1", Value: "none", Note: t.Reason}
		if t.Valid {
			figure.Value = thermo.FormatError(*t.Value, *t.StdErr)
			figure.Note = fmt.Sprintf("95 %% from %s to %s; truncation: %s", end(t.Low, "0"), end(t.High, "∞"), d.Truncation.Kind)
		}
		page.Figures = append([]report.Figure{figure}, page.Figures...)
		page.Facts = append(page.Facts, report.Fact{Label: "tokens", Value: d.Tokens}, report.Fact{Label: "truncation", Value: d.Truncation.says()})
	}
	return page
}
