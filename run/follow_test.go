package run

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func next(f *Follower) (records []Record, problems []error) {
	for r, err := range f.Next() {
		if err != nil {
			problems = append(problems, err)
			continue
		}
		records = append(records, r)
	}
	return records, problems
}

func TestFollow(t *testing.T) {
	r := create(t)
	f, err := Follow(r.Dir)
	must(t, err)
	expect := func(want int, problem string) {
		t.Helper()
		got, problems := next(f)
		if len(got) != want || (len(problems) > 0) != (problem != "") || problem != "" && !strings.Contains(problems[0].Error(), problem) {
			t.Fatalf("%d records, problems %v; want %d and %q", len(got), problems, want, problem)
		}
	}
	expect(0, "")
	must(t, r.Append(step1(1), step1(2)))
	expect(2, "")
	expect(0, "")

	line, err := step1(3).MarshalJSON()
	must(t, err)
	write := func(text string) {
		t.Helper()
		_, err := r.events.WriteString(text)
		must(t, err)
	}
	write(string(line[:10])) // a writer at work
	expect(0, "")
	write(string(line[10:]) + "\n")
	expect(1, "")

	write("damage\n")
	must(t, r.Append(step1(4)))
	got, problems := next(f)
	var bad *LineError
	if len(got) != 1 || len(problems) != 1 || !errors.As(problems[0], &bad) || bad.Line != 4 {
		t.Fatalf("%v, problems %v", got, problems)
	}
	must(t, r.Append(Record{Step: 2, Kind: KindResume}, step1(3)))
	expect(2, "")

	write(string(line[:20])) // and is killed
	expect(0, "")
	var torn *TornError
	for r, err := range f.End() {
		if !errors.As(err, &torn) || torn.Bytes != 20 {
			t.Errorf("%v, %v", r, err)
		}
	}
	if torn == nil {
		t.Error("a torn last line was not named")
	}
	f, err = Follow(r.Dir)
	must(t, err)
	next(f)
	write(string(line[20:])) // all but its newline
	expect(0, "")
	for r, err := range f.End() {
		must(t, err)
		same(t, r, step1(3))
	}

	must(t, os.Truncate(filepath.Join(r.Dir, eventsFile), 3))
	expect(0, "became shorter")
	must(t, r.Close())

	if _, err := Follow(t.TempDir()); !errors.Is(err, ErrNotRun) {
		t.Errorf("a folder that is no run: %v", err)
	}
}

// BenchmarkFollow reads records as the PyTorch probe writes them, six values of
// seven digits, with a follower and with Records.
func BenchmarkFollow(b *testing.B) {
	const records = 200_000
	dir := b.TempDir()
	must(b, os.WriteFile(filepath.Join(dir, modelFile), []byte("{}"), 0o644))
	var text []byte
	for i := range records {
		text = fmt.Appendf(text, `{"v":1,"t":1795471249.306,"step":%d,"kind":"layer","layer":"blocks.%d.qkv","gradient_norm2":0.0175438%d,"centred_virial":-0.00126387%d,`+
			`"update_norm2":0.0001754386,"centred_update":0.0001263876,"spread_norm2":0.000595224,"weight_norm":2.413469}`+"\n", i/8*50, i%8, i%10, i%7)
	}
	must(b, os.WriteFile(filepath.Join(dir, eventsFile), text, 0o644))
	for name, all := range map[string]func() iter.Seq2[Record, error]{
		"Records": func() iter.Seq2[Record, error] { return Records(dir) },
		"Follow": func() iter.Seq2[Record, error] {
			f, err := Follow(dir)
			must(b, err)
			return f.Next()
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				for _, err := range all() {
					must(b, err)
				}
			}
			b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
