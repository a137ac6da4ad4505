package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kelvin-ml/kelvin/collapse"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
)

type monitorFlags struct {
	sample int
	seed   uint64
	asJSON bool
	failOn string
}

func newCollapseMonitorCommand() *cobra.Command {
	var f monitorFlags
	c := &cobra.Command{
		Use:   "monitor GEN0 GEN1 …",
		Short: "Has generated data changed since generation 0: is it freezing or heating up?",
		Long: `Compares generations of text (folders of .txt and .jsonl files, or single ones) or of
embeddings (.npy) with the first: entropy, distinct-n, compression, tail mass,
Vendi score and temperature under generation 0, each with a bootstrap interval
and the chance that two samples of generation 0 would differ as much.`,
		Example: "  kelvin collapse monitor gen0/ gen1/ gen2.jsonl --html collapse.html",
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) < 2:
				return usagef("expected generation 0 and at least one more, got %d", len(args))
			case f.sample < 100 || f.sample > 10_000_000:
				return usagef("--sample %d: expected 100 to 10,000,000 documents", f.sample)
			case f.failOn != "" && f.failOn != "collapse" && f.failOn != "heat-death" && f.failOn != "any":
				return usagef("--fail-on %q: expected collapse, heat-death or any", f.failOn)
			}
			return runCollapseMonitor(c, args, f)
		},
	}
	flags := c.Flags()
	flags.IntVar(&f.sample, "sample", 20_000, "documents of each generation to keep and compare, at random")
	flags.Uint64Var(&f.seed, "seed", 0, "seed of the samples, the bootstrap and the permutations")
	addHTMLFlag(c)
	flags.StringVar(&f.failOn, "fail-on", "", "exit 3 if a generation has this verdict: collapse, heat-death or any")
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON document")
	return c
}

// A monitorDocument is what kelvin collapse monitor --json prints.
type monitorDocument struct {
	Schema      string              `json:"schema"`
	Seed        uint64              `json:"seed"`
	Generations []monitorGeneration `json:"generations"`
	Verdict     collapse.Verdict    `json:"verdict"` // of the last generation
	Findings    []thermo.Finding    `json:"findings"`
}

type monitorGeneration struct {
	Generation int                         `json:"generation"`
	Path       string                      `json:"path"`
	Documents  int                         `json:"documents"`
	Statistics map[string]monitorStatistic `json:"statistics"`
	Fresh      thermo.Reading              `json:"fresh"`
	Verdict    collapse.Verdict            `json:"verdict"`

	order []string
}

type monitorStatistic struct {
	Value    *float64 `json:"value"`
	StdErr   *float64 `json:"stderr"`
	Low      *float64 `json:"low"`
	High     *float64 `json:"high"`
	PValue   *float64 `json:"p_value"` // against generation 0; null for itself
	Adjusted *float64 `json:"p_adjusted"`
	Unit     string   `json:"unit"`
}

func runCollapseMonitor(cmd *cobra.Command, paths []string, f monitorFlags) error {
	list, warnings, err := monitorPaths(cmd.Context(), paths, f)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
	}
	d := newMonitorDocument(list, f.seed)
	if err := writePage(cmd, d.page); err != nil {
		return err
	}
	if f.asJSON {
		err = printJSON(cmd.OutOrStdout(), d)
	} else {
		err = d.print(cmd.OutOrStdout())
	}
	if err != nil {
		return err
	}
	for _, g := range d.Generations {
		if verdict := strings.ReplaceAll(string(g.Verdict), " ", "-"); g.Verdict != collapse.Stable && (f.failOn == "any" || f.failOn == verdict) {
			return fmt.Errorf("generation %d: %s: %w", g.Generation, g.Verdict, errFailOn)
		}
	}
	return nil
}

// monitorPaths reads generations, all of text or all of embeddings.
func monitorPaths(ctx context.Context, paths []string, f monitorFlags) (list []collapse.Monitored, warnings []string, err error) {
	arrays := 0
	for _, p := range paths {
		if collapse.IsEmbeddings(p) {
			arrays++
		}
	}
	switch arrays {
	case len(paths):
		var generations []*collapse.Embeddings
		for i, p := range paths {
			e, err := collapse.ReadEmbeddings(ctx, p, f.sample, f.seed+uint64(i))
			if err != nil {
				return nil, nil, err
			}
			generations = append(generations, e)
		}
		list, err = collapse.MonitorEmbeddings(ctx, generations, f.seed)
		return list, nil, err
	case 0:
	default:
		return nil, nil, usagef("expected generations of text alone or of embeddings (.npy) alone")
	}
	var corpora []*collapse.Corpus
	for i, p := range paths {
		c, err := collapse.ReadCorpus(ctx, p, f.sample, f.seed+uint64(i))
		if err != nil {
			return nil, nil, err
		}
		corpora = append(corpora, c)
		for _, w := range []struct {
			n    int
			what string
		}{{c.Invalid, "hold bytes that are not UTF-8, which were replaced"}, {c.Cut, "are longer than 16 MiB, and were cut"}, {c.Empty, "are empty, and were left out"}} {
			if w.n > 0 {
				warnings = append(warnings, fmt.Sprintf("%s: %d of %d documents %s", p, w.n, c.Documents, w.what))
			}
		}
	}
	list, err = collapse.Monitor(ctx, corpora, f.seed)
	return list, warnings, err
}

func newMonitorDocument(list []collapse.Monitored, seed uint64) *monitorDocument {
	d := &monitorDocument{Schema: schema, Seed: seed, Findings: []thermo.Finding{}, Verdict: list[len(list)-1].Verdict}
	known := func(x float64) *float64 {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
		return &x
	}
	for i, m := range list {
		g := monitorGeneration{Generation: i, Path: m.Path, Documents: m.Documents, Statistics: map[string]monitorStatistic{}, Fresh: m.Fresh, Verdict: m.Verdict}
		for _, s := range m.Statistics {
			name := strings.ReplaceAll(strings.ReplaceAll(s.Name, " ", "_"), "-", "_")
			g.order = append(g.order, name)
			g.Statistics[name] = monitorStatistic{known(s.Value), known(s.StdErr), known(s.Low), known(s.High), known(s.PValue), known(s.Adjusted), s.Unit}
		}
		d.Generations = append(d.Generations, g)
		if m.Verdict != collapse.Stable {
			d.Findings = append(d.Findings, monitorFinding(i, m, g))
		}
	}
	return d
}

func monitorFinding(generation int, m collapse.Monitored, g monitorGeneration) thermo.Finding {
	f := thermo.Finding{ID: strings.ReplaceAll(string(m.Verdict), " ", "-"), Severity: thermo.Warning, What: fmt.Sprintf("generation %d: %s", generation, m.Verdict)}
	if s := g.Statistics["entropy"]; s.Value != nil && s.Adjusted != nil {
		f.Evidence = fmt.Sprintf("entropy %s %s (p = %s)", thermo.FormatError(*s.Value, *s.StdErr), s.Unit, thermo.Format(*s.Adjusted, 2))
	}
	if s := g.Statistics["temperature"]; s.Value != nil {
		f.Evidence += fmt.Sprintf(", temperature %s under generation 0", thermo.FormatError(*s.Value, *s.StdErr))
	}
	switch {
	case m.Verdict == collapse.HeatDeath:
		f.Change = "sample at a lower temperature, or filter what is improbable"
	case m.Fresh.Valid():
		f.Change = fmt.Sprintf("add %s fresh documents for every generated one, or sample at a higher temperature", thermo.FormatError(m.Fresh.Value, m.Fresh.StdErr))
	default:
		f.Change = "add fresh documents, or sample at a higher temperature"
	}
	return f
}

func (d *monitorDocument) print(w io.Writer) error {
	columns := []string{"statistic", "unit"}
	for _, g := range d.Generations {
		columns = append(columns, fmt.Sprintf("generation %d", g.Generation))
	}
	table := report.Table{Columns: columns, Words: map[int]bool{1: true}}
	for _, name := range d.Generations[0].order {
		row := []string{strings.ReplaceAll(name, "_", " "), d.Generations[0].Statistics[name].Unit}
		for _, g := range d.Generations {
			row = append(row, g.Statistics[name].cell())
		}
		table.Rows = append(table.Rows, row)
	}
	if err := table.Print(w); err != nil {
		return err
	}
	fmt.Fprintf(w, "* differs from generation 0 (p < 0.05, adjusted for looking at %d numbers)\n", (len(d.Generations)-1)*len(d.Generations[0].order))
	return printFindings(w, d.Findings)
}

func (s monitorStatistic) cell() string {
	if s.Value == nil || s.StdErr == nil {
		return "–"
	}
	text := thermo.FormatError(*s.Value, *s.StdErr)
	if s.Adjusted != nil && *s.Adjusted < 0.05 {
		return text + " *"
	}
	return text
}

func (d *monitorDocument) page() report.Page {
	var charts []report.Chart
	for _, name := range d.Generations[0].order {
		line := report.Line{Name: strings.ReplaceAll(name, "_", " "), Hotness: 0.1}
		for _, g := range d.Generations {
			s := g.Statistics[name]
			value, half := math.NaN(), 0.0
			if s.Value != nil {
				value = *s.Value
			}
			if s.StdErr != nil {
				half = 2 * *s.StdErr
			}
			line.X, line.Y, line.Band = append(line.X, float64(g.Generation)), append(line.Y, value), append(line.Band, half)
		}
		charts = append(charts, report.LineChart{Caption: upperFirst(line.Name) + ", with two standard errors.", X: "generation (count)", Y: fmt.Sprintf("%s (%s)", line.Name, d.Generations[0].Statistics[name].Unit), Lines: []report.Line{line}})
	}
	table := &report.Table{Columns: []string{"generation", "documents (count)", "verdict", "fresh data needed for every generated document (1)"}, Words: map[int]bool{2: true}}
	for _, g := range d.Generations {
		fresh := "–"
		if g.Generation > 0 && g.Fresh.Valid() && g.Verdict == collapse.Collapse {
			fresh = thermo.FormatError(g.Fresh.Value, g.Fresh.StdErr)
		}
		table.Rows = append(table.Rows, []string{g.Path, fmt.Sprint(g.Documents), string(g.Verdict), fresh})
	}
	page := report.Page{
		Title: "Generations of data", Lead: fmt.Sprintf("The last generation: %s.", d.Verdict),
		Findings: d.Findings,
		Sections: []report.Section{{Title: "Generations", Table: table}, {Title: "Statistics", Charts: charts}},
	}
	return page
}
