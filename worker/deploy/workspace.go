package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"pgo/worker/compose"
)

// workspace is the service's directory: the stage and the checkout, their models, and
// compose running on those.
type workspace struct {
	dir     string
	compose []string // the compose files' paths in the repository, in order; empty: one of the usual names
	project *compose.Project

	registries []compose.Registry
}

func newWorkspace(cfg Config) *workspace {
	project := cfg.Project
	project.Name, project.Extensions = cfg.Name, cfg.StartFirst
	project.Home = filepath.Join(cfg.Dir, "docker")
	project.Checkout = filepath.Join(cfg.Dir, "checkout")
	project.Remembered = filepath.Join(cfg.Dir, "docker.json")
	return &workspace{dir: cfg.Dir, compose: cfg.Compose, project: &project, registries: cfg.Registries}
}

// prepare makes what a change needs, unless it is there.
func (w *workspace) prepare() error { return errors.Join(w.makeDirs(), w.logIn()) }

// logIn leaves the credentials of the registries where compose finds them.
func (w *workspace) logIn() error {
	if err := w.project.LogIn(w.registries); err != nil {
		return fmt.Errorf("cannot log in to the registries: %w", err)
	}
	return nil
}

func (w *workspace) makeDirs() error {
	for dir, mode := range map[string]os.FileMode{w.project.Home: 0o700, w.stage(): 0o700, w.checkout(): 0o755} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return fmt.Errorf("cannot create the service's directory: %w", err)
		}
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm() == mode {
			continue // nothing to write: the disk may be full or read-only
		}
		// Regardless of the umask: containers of any user read the checkout.
		if err := os.Chmod(dir, mode); err != nil {
			return fmt.Errorf("cannot create the service's directory: %w", err)
		}
	}
	return nil
}

func (w *workspace) stage() string    { return filepath.Join(w.dir, "stage") }
func (w *workspace) checkout() string { return w.project.Checkout }

// The models of the stage, of what is deployed, and of what is deployed as it is started:
// with the images that it should have, whatever their names refer to by now.
const (
	stagedModel    = "staged.json"
	deployedModel  = "deployed.json"
	rehearsalModel = "rehearsal.json"
	startModel     = "start.json"
)

func (w *workspace) path(model string) string { return filepath.Join(w.dir, model) }

// save replaces one of the models.
func (w *workspace) save(model string, content []byte) error {
	if err := replaceFile(w.dir, model, content); err != nil {
		return fmt.Errorf("cannot save the model: %w", err)
	}
	return nil
}

func (w *workspace) loadDeployed() (*compose.Model, error) { return w.load(deployedModel) }

// load reads one of the models.
func (w *workspace) load(model string) (*compose.Model, error) {
	raw, err := os.ReadFile(w.path(model))
	if err != nil {
		return nil, fmt.Errorf("cannot read the model: %w", err)
	}
	m, err := compose.Load(raw)
	if err != nil {
		return nil, fmt.Errorf("%s is empty or damaged, and up makes it again: %w", w.path(model), err)
	}
	return m, nil
}

// projectDir returns the directory in tree that the compose files' paths are relative to.
func (w *workspace) projectDir(tree string) string {
	if len(w.compose) == 0 {
		return tree
	}
	return filepath.Join(tree, filepath.Dir(w.compose[0]))
}

// onDeployed runs compose on the deployed model. If there is none, or it is damaged, compose acts
// on whatever has the project's name: nothing, or what an earlier life of this service left.
func (w *workspace) onDeployed(ctx context.Context, out compose.Output, args ...string) error {
	model := w.path(deployedModel)
	if _, err := w.loadDeployed(); err != nil {
		model = ""
	}
	return w.inCheckout(ctx, model, out, args...)
}

// stopDeployed stops what is deployed, in the order of its dependencies and with its hooks.
func (w *workspace) stopDeployed(ctx context.Context, engine *compose.Engine, out compose.Output) error {
	if model, err := w.loadDeployed(); err == nil && compose.StopsPlainly(model) {
		return w.project.Stop(ctx, engine, model, out)
	}
	return w.onDeployed(ctx, out, "stop")
}

// inCheckout runs compose on a model whose paths are in the checkout.
func (w *workspace) inCheckout(ctx context.Context, model string, out compose.Output, args ...string) error {
	dir := w.projectDir(w.checkout())
	if _, err := os.Stat(dir); err != nil {
		dir = w.checkout()
	}
	return w.project.Run(ctx, model, dir, out, args...)
}

// onStaged runs compose on the model of the stage, which is what needs the registries.
func (w *workspace) onStaged(ctx context.Context, out compose.Output, args ...string) error {
	if err := w.logIn(); err != nil {
		return err
	}
	return w.project.Run(ctx, w.path(stagedModel), w.projectDir(w.stage()), out, args...)
}

// stays describes what the engine has and will keep although the model says otherwise.
func (w *workspace) stays(ctx context.Context, engine *compose.Engine, model *compose.Model) ([]string, error) {
	volumes, err := engine.Volumes(ctx, model.VolumeNames())
	if err != nil {
		return nil, err
	}
	return compose.Stays(model, volumes, w.project.Name), nil
}

// inputs identifies what a compose service uses in addition to its model. Compose compares
// it as a label, so a changed file replaces exactly the containers that use it.
func (w *workspace) inputs(model *compose.Model, service string, r *Record) string {
	h := sha256.New()
	for _, path := range model.UsedBy(service, w.checkout()) {
		fmt.Fprintf(h, "%q %q\n", path, r.Inputs[path])
	}
	for _, value := range model.ValuesFor(service) {
		fmt.Fprintf(h, "%q\n", value)
	}
	for _, version := range model.Versions() {
		fmt.Fprintf(h, "%q\n", version)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
