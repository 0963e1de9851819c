package deploy

// Step is one step of the path from a branch to running containers.
type Step string

// The steps, in the order in which a deploy takes them.
const (
	StepFetch    Step = "fetch"
	StepStage    Step = "stage"
	StepResolve  Step = "resolve"
	StepCheck    Step = "check"
	StepCompare  Step = "compare"
	StepPull     Step = "pull"
	StepBuild    Step = "build"
	StepRehearse Step = "rehearse"
	StepSwitch   Step = "switch to" // from here on a crash leaves a switch to be finished
	StepDown     Step = "stop what runs for"
	StepCheckout Step = "check out"
	StepModel    Step = "save the model of"
	StepAhead    Step = "start first" // as do the next two: only with deploy = "start-first"
	StepTurn     Step = "switch requests to"
	StepDrain    Step = "drain what is replaced by"
	StepSources  Step = "check the sources of"
	StepCreate   Step = "create the containers of"
	StepMade     Step = "check what was made of"
	StepUp       Step = "up"
	StepGate     Step = "gate"
	StepRecord   Step = "record"
	StepPin      Step = "pin"
	StepPrune    Step = "prune after"
	StepBack     Step = "go back to"
)

// Steps has all steps in order that a deploy may take without a proxy, for a test that interrupts
// each.
var Steps = []Step{
	StepFetch, StepStage, StepResolve, StepCheck, StepCompare, StepPull, StepBuild, StepRehearse, StepSwitch, StepDown,
	StepCheckout, StepModel, StepSources, StepCreate, StepMade, StepUp, StepGate, StepRecord, StepPin, StepPrune, StepBack,
}
