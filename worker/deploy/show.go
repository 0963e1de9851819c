package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	"pgo/internal/printable"
	"pgo/internal/target"
	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// Check fetches the branch, checks its head against the policy and lists every refusal.
func (t *Turn) Check(ctx context.Context, out compose.Output) error {
	c, err := t.proposed(ctx, "check", out)
	t.board.idle()
	if err == nil {
		c.warn(out)
		_, _ = fmt.Fprintf(out.Stdout, "%s: nothing is refused\n", c.commit.Short())
		return nil
	}
	list := Details(err)
	if refused := new(RefusedError); errors.As(err, &refused) && refused.All == 1 {
		list = []string{refused.Refusals[0].String()}
	}
	for _, line := range list {
		_, _ = fmt.Fprintln(out.Stdout, printable.Line(line))
	}
	return &listedError{err}
}

// warn tells what the commit asks for and does not get.
func (c *candidate) warn(out compose.Output) {
	for _, text := range c.stays {
		_, _ = fmt.Fprintf(out.Stdout, "# warning: %s\n", printable.Line(text))
	}
	for _, way := range c.record.Ways {
		_, _ = fmt.Fprintf(out.Stdout, "# %s\n", printable.Line(way.String()))
	}
}

// listedError is an error whose details were already listed.
type listedError struct{ error }

func (e *listedError) Details() []string { return nil }
func (e *listedError) Unwrap() error     { return e.error }

// proposed returns the newest commit, proven as far as possible without pulling or building
// anything.
func (t *Turn) proposed(ctx context.Context, trigger string, out compose.Output) (*candidate, error) {
	ctx, cancel := deadline(ctx, t.cfg.Timeout)
	defer cancel()
	commit, err := t.branch.newest(ctx, out)
	if err != nil {
		return nil, err
	}
	r := t.prover.newRecord(commit, trigger)
	c, err := t.prover.propose(ctx, commit, r)
	sayWarnings(out, r)
	if err != nil {
		return nil, err
	}
	if err := t.ahead.foretell(ctx, c); err != nil {
		return nil, err
	}
	return c, t.foretell(ctx, c)
}

// foretell warns that the first deploy would be held until an operator sets adopt, in the words that
// the status has once it is tried.
func (d *deployer) foretell(ctx context.Context, c *candidate) error {
	err := d.strangers(ctx, c)
	if held := new(strangerError); errors.As(err, &held) {
		c.stays = append(c.stays, d.files.project.Redact(held.Error()))
		return nil
	}
	return err
}

// Diff fetches the branch, and shows what Up would change: the keys, the files, and the differences between both
// models.
func (t *Turn) Diff(ctx context.Context, out compose.Output) error {
	c, err := t.proposed(ctx, "diff", out)
	t.board.idle()
	if err != nil {
		return err
	}
	c.warn(out)
	state := t.store.snapshot()
	before, from := &compose.Model{}, "nothing"
	if state.Deployed != nil {
		if before, err = t.files.loadDeployed(); err != nil {
			return err
		}
		from = state.Deployed.Commit.Short()
	}
	if !c.differs() {
		_, _ = fmt.Fprintf(out.Stdout, "%s: nothing that is used differs from %s\n", c.commit.Short(), from)
		return nil
	}
	for _, path := range c.contexts {
		c.changes = append(c.changes, "build context "+path+" changed")
	}
	for _, change := range c.changes {
		_, _ = fmt.Fprintf(out.Stdout, "# %s\n", printable.Line(change))
	}
	text := diff.Diff("deployed "+from, masked(t.cfg.Project.Env, before), "fetched "+c.commit.Short(), masked(t.cfg.Project.Env, c.resolved))
	_, err = out.Stdout.Write(text)
	return err
}

// masked returns the text of a model for people: without secrets, as far as they can be
// recognized.
func masked(env []string, m *compose.Model) []byte {
	var secrets []string
	for _, variable := range env {
		_, value, _ := strings.Cut(variable, "=")
		secrets = append(secrets, value)
	}
	isSecret := func(text string) bool {
		for _, secret := range secrets {
			if text == secret && secret != "" || len(secret) >= compose.ShortSecret && strings.Contains(text, secret) {
				return true
			}
		}
		return false
	}
	var b bytes.Buffer
	for line := range strings.Lines(string(m.Masked(isSecret).Text())) {
		b.WriteString(printable.Line(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return b.Bytes()
}

// History shows the deploys, newest first.
func (s *Service) History(args target.Args, out compose.Output) error {
	records, kept := s.store.history.list(), map[int]bool{}
	for _, g := range s.store.history.kept() {
		kept[g.Number] = true
	}
	if args.Has("--json") {
		return historyJSON(out.Stdout, records, kept)
	}
	if len(records) == 0 {
		_, err := io.WriteString(out.Stdout, "nothing has been deployed yet\n")
		return err
	}
	table := tabwriter.NewWriter(out.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "TIME\tCOMMIT\tOUTCOME\tTOOK\tTRIGGER\tAUTHOR\tSUBJECT\tWHY")
	for _, r := range records {
		outcome := string(r.Outcome)
		if r.good() && kept[r.Number] {
			outcome += " *"
		}
		if r.Tries > 1 {
			outcome += fmt.Sprintf(" (%d times)", r.Tries)
		}
		why := r.Reason
		if r.Error != "" {
			why = r.Error
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.At.UTC().Format("2006-01-02 15:04:05Z"), r.Commit.Short(),
			outcome, r.Duration.Round(100*time.Millisecond), printable.Line(r.Trigger), printable.Line(r.Author), printable.Line(r.Subject), printable.Line(why))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(kept) > 0 {
		_, _ = fmt.Fprintln(out.Stdout, "* rollback COMMIT goes back to it")
	}
	return nil
}

// shownRecord is a record as `history --json` shows it.
type shownRecord struct {
	Time    time.Time    `json:"time"`
	Commit  gitrepo.Hash `json:"commit"`
	Author  string       `json:"author"`
	Subject string       `json:"subject"`
	Trigger string       `json:"trigger"`
	Reason  string       `json:"reason"`
	Outcome Outcome      `json:"outcome"`
	Seconds float64      `json:"seconds"` // how long it took
	Error   string       `json:"error,omitempty"`
	Details []string     `json:"details,omitempty"`
	Tries   int          `json:"tries"`
	CanGoTo bool         `json:"can_roll_back_to"`
}

func historyJSON(w io.Writer, records []*Record, kept map[int]bool) error {
	shown := []shownRecord{}
	for _, r := range records {
		shown = append(shown, shownRecord{
			r.At.UTC().Truncate(time.Millisecond), r.Commit, r.Author, r.Subject, r.Trigger, r.Reason, r.Outcome,
			r.Duration.Round(time.Millisecond).Seconds(), r.Error, r.Details, r.Tries, r.good() && kept[r.Number],
		})
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(shown)
}
