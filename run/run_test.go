package run

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func step1(step int64) Record {
	return Record{Time: 1.5e9 + float64(step), Step: step, Kind: KindStep, Values: map[string]float64{"loss": 1 / float64(step), "learning_rate": 0.1}}
}

func create(t *testing.T) *Run {
	t.Helper()
	r, err := Create(filepath.Join(t.TempDir(), "a [run] 100% #1?"), map[string]int{"width": 64})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// read returns the records of a run, and the errors between them.
func read(t *testing.T, dir string) (records []Record, problems []error) {
	t.Helper()
	for record, err := range Records(dir) {
		if err != nil {
			problems = append(problems, err)
			continue
		}
		records = append(records, record)
	}
	return records, problems
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("(-want +got)\n%s", d)
	}
}

func TestRun(t *testing.T) {
	r := create(t)
	want := []Record{
		step1(1),
		{Time: 1, Step: 1, Kind: KindLayer, Layer: `hostile "layer" </script> \ ` + "\x00\u2028é", Values: map[string]float64{"a": math.NaN(), "b": math.Inf(1), "c": math.Inf(-1), "d": -5e-324}},
		{Time: 1.25, Step: 1 << 60, Kind: "note", Text: "line\nbreak"},
	}
	must(t, r.Append(want...))
	before := time.Now().Add(-time.Second)
	must(t, r.Append(Record{Kind: KindEnd}))
	got, problems := read(t, r.Dir)
	same(t, problems, []error(nil))
	if at := time.UnixMilli(int64(got[3].Time * 1000)); at.Before(before) || at.After(time.Now()) {
		t.Errorf("the time of a record without one is %v", at)
	}
	same(t, got[:3], want)
	var model map[string]int
	must(t, Model(r.Dir, &model))
	same(t, model, map[string]int{"width": 64})
}

func TestAppendRefuses(t *testing.T) {
	r := create(t)
	for _, bad := range []Record{
		{}, {Kind: KindStep, Time: math.NaN()}, {Kind: KindStep, Values: map[string]float64{"step": 1}},
		{Kind: KindStep, Values: map[string]float64{"": 1}}, {Kind: "note", Text: strings.Repeat("x", maxLine)},
	} {
		if err := r.Append(step1(1), bad); err == nil {
			t.Errorf("%.50v was appended", bad)
		}
	}
	if got, problems := read(t, r.Dir); len(got)+len(problems) > 0 {
		t.Errorf("what failed left %v %v", got, problems)
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o644))
	if _, err := Create(dir, 1); err == nil || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("a folder with other files: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("it left %v", entries)
	}
	r := create(t)
	must(t, r.Close())
	if _, err := Create(r.Dir, 1); err == nil {
		t.Error("a run was created over a run")
	}
	if _, _, err := Open(filepath.Join(dir, "missing")); !errors.Is(err, ErrNotRun) || !strings.Contains(err.Error(), "no such folder") {
		t.Errorf("a missing folder: %v", err)
	}
	if _, _, err := Open(dir); !errors.Is(err, ErrNotRun) {
		t.Errorf("opening what is no run: %v", err)
	}
	if _, err := Create(t.TempDir(), math.NaN()); err == nil {
		t.Error("a model that JSON cannot hold was taken")
	}
	// What a Create that was killed leaves is no obstacle.
	must(t, os.Remove(filepath.Join(r.Dir, modelFile)))
	r, err := Create(r.Dir, 2)
	must(t, err)
	must(t, r.Close())
}

// TestTorn cuts a run at every byte of its last record.
func TestTorn(t *testing.T) {
	r := create(t)
	must(t, r.Append(step1(1), step1(2)))
	path := filepath.Join(r.Dir, eventsFile)
	before, err := os.ReadFile(path)
	must(t, err)
	must(t, r.Append(step1(3)))
	must(t, r.Close())
	after, err := os.ReadFile(path)
	must(t, err)
	for size := len(before); size <= len(after); size++ {
		must(t, os.WriteFile(path, after[:size], 0o644))
		torn := size > len(before) && size < len(after)-1 // without its newline only, it is whole
		want := []Record{step1(1), step1(2)}
		if size >= len(after)-1 {
			want = append(want, step1(3))
		}
		got, problems := read(t, r.Dir)
		same(t, got, want)
		if len(problems) > 0 != torn {
			t.Fatalf("%d bytes: problems %v", size, problems)
		}
		var problem *TornError
		if torn && (!errors.As(problems[0], &problem) || problem.Offset != int64(len(before)) || problem.Bytes != size-len(before)) {
			t.Fatalf("%d bytes: %v", size, problems[0])
		}
		index, warning, err := OpenIndex(r.Dir)
		must(t, err)
		must(t, index.Close())
		if (warning != "") != torn {
			t.Fatalf("%d bytes: the index warns %q", size, warning)
		}
		again, warning, err := Open(r.Dir)
		must(t, err)
		if (warning != "") != torn {
			t.Fatalf("%d bytes: Open warns %q", size, warning)
		}
		must(t, again.Append(step1(4)))
		must(t, again.Close())
		got, problems = read(t, r.Dir)
		same(t, got, append(want, step1(4)))
		same(t, len(problems), 0)
	}
}

func TestDamagedLine(t *testing.T) {
	r := create(t)
	must(t, r.Append(step1(1)))
	long := append([]byte(strings.Repeat("x", maxLine+10)), '\n')
	for _, bad := range []string{"{\"v\":1,\"t\":2{\"v\":1}\n", "\n", "\x00\x00\n", `{"v":2,"t":1,"step":1,"kind":"step"}` + "\n", string(long)} {
		_, err := r.events.WriteString(bad)
		must(t, err)
	}
	must(t, r.Append(step1(2)))
	got, problems := read(t, r.Dir)
	same(t, got, []Record{step1(1), step1(2)})
	if len(problems) != 5 {
		t.Fatal(problems)
	}
	first, err := step1(1).MarshalJSON()
	must(t, err)
	for i, problem := range problems {
		var bad *LineError
		if !errors.As(problem, &bad) || bad.Line != i+2 || i == 0 && bad.Offset != int64(len(first)+1) {
			t.Errorf("line %d: %v", i+2, problem)
		}
	}
	index, warning, err := OpenIndex(r.Dir)
	must(t, err)
	defer index.Close()
	if !strings.Contains(warning, "line 2, at offset") {
		t.Errorf("the index warns %q", warning)
	}
	points, err := index.Series("", "loss")
	must(t, err)
	same(t, points, []Point{{1, 1}, {2, 0.5}})
}

// TestResume goes on twice, from before what was already there.
func TestResume(t *testing.T) {
	r := create(t)
	resume := func(step int64) Record { return Record{Time: 1, Step: step, Kind: KindResume} }
	layer := func(step int64, x float64) Record {
		return Record{Time: 1, Step: step, Kind: KindLayer, Layer: "0", Values: map[string]float64{"virial": x}}
	}
	must(t, r.Append(layer(1, 1), layer(2, 2), layer(3, 3), resume(2), layer(3, 4), layer(4, 5), resume(1), layer(2, 6)))
	got, problems := read(t, r.Dir)
	same(t, problems, []error(nil))
	same(t, got, []Record{layer(1, 1), resume(1), layer(2, 6)})
	index, _, err := OpenIndex(r.Dir)
	must(t, err)
	defer index.Close()
	points, err := index.Series("0", "virial")
	must(t, err)
	same(t, points, []Point{{1, 1}, {2, 6}})
}

// TestResumeAcrossBlocks finds resumes wherever they lie in what is read at once,
// and none in lines that only speak of them.
func TestResumeAcrossBlocks(t *testing.T) {
	for _, before := range []int{0, 100, maxLine - 60, maxLine, 2*maxLine - 70, 2*maxLine - 1, 5*maxLine - 1} {
		r := create(t)
		must(t, r.Append(step1(5)))
		line, err := Record{Time: 1, Step: 1, Kind: KindResume}.MarshalJSON()
		must(t, err)
		_, err = r.events.WriteString(strings.Repeat(" ", before) + "x" + string(line) + "\n")
		must(t, err)
		must(t, r.Append(Record{Time: 1, Step: 9, Kind: "note", Text: `a "resume"`}, Record{Time: 1, Step: 3, Kind: KindResume}, step1(4)))
		got, problems := read(t, r.Dir)
		same(t, got, []Record{{Time: 1, Step: 3, Kind: KindResume}, step1(4)})
		if len(problems) != 1 {
			t.Errorf("after %d bytes: %v", before, problems)
		}
		must(t, r.Close())
	}
}

func TestConcurrentAppends(t *testing.T) {
	r := create(t)
	const writers, each = 8, 50
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range int64(each) {
				if err := r.Append(step1(i+1), Record{Time: 1, Step: i, Kind: "note", Text: strings.Repeat("x", 1000*w)}); err != nil {
					t.Error(err)
				}
			}
		})
		group.Go(func() {
			for _, err := range Records(r.Dir) {
				var torn *TornError
				if err != nil && !errors.As(err, &torn) {
					t.Error(err)
				}
			}
		})
		group.Go(func() {
			index, _, err := OpenIndex(r.Dir)
			if err != nil {
				t.Error(err)
				return
			}
			index.Close()
		})
	}
	group.Wait()
	got, problems := read(t, r.Dir)
	if len(got) != writers*each*2 || len(problems) > 0 {
		t.Errorf("%d records of %d, %v", len(got), writers*each*2, problems)
	}
}

func TestCheckpoints(t *testing.T) {
	r := create(t)
	write := func(path string) error { return os.WriteFile(path, []byte("weights"), 0o644) }
	for _, step := range []int64{2000, 1000, 1_500_000_000} {
		must(t, r.Checkpoint(step, write))
	}
	broken := errors.New("no")
	err := r.Checkpoint(3000, func(path string) error { return errors.Join(write(path), broken) })
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	list, err := Checkpoints(r.Dir)
	must(t, err)
	folder := filepath.Join(r.Dir, "checkpoints")
	same(t, list, []Checkpoint{
		{1000, filepath.Join(folder, "step-000001000.safetensors")},
		{2000, filepath.Join(folder, "step-000002000.safetensors")},
		{1_500_000_000, filepath.Join(folder, "step-1500000000.safetensors")},
	})
	records, _ := read(t, r.Dir)
	same(t, records[1].Text, "checkpoints/step-000001000.safetensors")
	entries, err := os.ReadDir(folder)
	must(t, err)
	same(t, len(entries), 3)
}

func TestList(t *testing.T) {
	root := t.TempDir()
	if _, err := List(filepath.Join(root, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such folder: %v", err)
	}
	for i, records := range [][]Record{
		nil,
		{step1(1), {Time: 7, Step: 5, Kind: KindEnd}},
		{step1(1), step1(2), {Time: 1.5, Step: 1, Kind: KindResume}},
		{step1(1), {Time: 2, Step: 2, Kind: KindStep, Values: map[string]float64{"loss": math.Inf(1)}}},
	} {
		r, err := Create(filepath.Join(root, "sweep", fmt.Sprint(i)), nil)
		must(t, err)
		must(t, r.Append(records...))
		must(t, r.Close())
	}
	list, err := List(root)
	must(t, err)
	for i := range list {
		list[i].Dir = filepath.Base(list[i].Dir)
	}
	same(t, list, []Summary{
		{Dir: "0", State: Stopped, Loss: math.NaN()},
		{Dir: "1", State: Finished, Step: 5, Time: 7, Loss: 1},
		{Dir: "2", State: Stopped, Step: 1, Time: 1.5, Loss: 1},
		{Dir: "3", State: Stopped, Step: 2, Time: 2, Loss: math.Inf(1), Diverged: true},
	})
}
