import ArgumentParser
import FastableCore

/// The command line over the public API: it holds no logic of its own beyond asking and showing.
@main
struct CLI: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fastable",
        abstract: "Work in Fastable projects: each has one persistent Linux container.",
        discussion: """
            Begin with (the first line is done already where ‘make up’ ran):
              fastable login --url http://127.0.0.1:7420 --token-file FILE
              fastable project create shop
              fastable push shop ./my-sources
              fastable exec shop -- 'npm ci && npm test'

            Exit status:
              0    success
              1    the request failed; the message says what to do
              64   wrong usage
              69   the controller or the project's node cannot be reached
              77   not logged in, or not allowed
            ‘exec’ has its own: see ‘fastable help exec’.

            Commands take --json to print the whole answer, and --context NAME when you are
            logged in to several controllers. Completions for your shell:
              fastable --generate-completion-script bash    (or zsh, or fish)
            """,
        version: Version.text,
        groupedSubcommands: [
            CommandGroup(
                name: "Work in a project",
                subcommands: [
                    ProjectCommand.self, ExecCommand.self, AttachCommand.self, PsCommand.self, KillCommand.self,
                    ContainerCommand.self, DevServerCommand.self, FileCommand.self, PushCommand.self, PullCommand.self,
                    EventsCommand.self,
                ]),
            CommandGroup(
                name: "Choose a controller", subcommands: [LoginCommand.self, LogoutCommand.self, StatusCommand.self]),
            CommandGroup(
                name: "Operate it",
                subcommands: [
                    NodeCommand.self, ImageCommand.self, WorkspaceCommand.self, TokenCommand.self, WebhookCommand.self,
                    AuditCommand.self,
                    AdminCommand.self,
                ]),
        ])
}
