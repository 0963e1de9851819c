package deploy

// mend looks before each change whether somebody has removed or damaged what pgo keeps in the
// service's directory, and brings it in order as far as what is left allows.
func (d *deployer) mend() {
	state := d.store.snapshot()
	if !state.Deployed.good() || state.Switching != nil || state.Wanted != Up || d.store.usable() != nil {
		return // the next deploy makes all of it
	}
	if _, damage := d.files.loadDeployed(); damage != nil {
		d.mendModel(state.Deployed, damage)
	}
	if d.repo.Lost(d.files.checkout()) {
		d.log.Error("the checkout was removed or emptied, and is written again: what it had that git does not is lost", "directory", d.files.checkout())
		d.runAgain(state.Deployed, "the checkout was removed or emptied")
	}
}

// mendModel restores the deployed model. If that is impossible, another is made.
func (d *deployer) mendModel(runs *Record, damage error) {
	model, err := d.store.history.model(runs.Number)
	if err == nil {
		err = d.files.save(deployedModel, model.Encode())
	}
	if err != nil {
		d.log.Error("what is deployed is deployed again", "error", damage)
		d.runAgain(runs, "the deployed model was removed or damaged")
		return
	}
	d.log.Warn("the deployed model is restored from the history", "error", damage)
}

// runAgain has the next poll replace what runs, whose files are gone, with the same: containers
// would keep mounting what nobody else sees.
func (d *deployer) runAgain(runs *Record, reason string) {
	err := d.store.update(func(st *State) {
		st.Checkout = nil
		st.Switching = &Switching{Commit: runs.tree(), Reason: reason}
		if d.store.history.find(runs.Number) != nil {
			st.Switching.Back = runs.Number // with the images that it had
		}
	})
	if err != nil {
		d.log.Error("cannot deploy again what is deployed", "error", err)
	}
}
