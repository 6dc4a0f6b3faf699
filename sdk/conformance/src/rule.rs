//! The rules of plugin.proto that a plugin keeps, each with the words that it comes from and the check that sees it.

use futures::future::{BoxFuture, FutureExt as _};

use crate::{
    checks::{
        bounds, definitions, describe, exchange, files, health, hooks, http, load, resources, socket, stop, tools,
        trust,
    },
    verdict::Checked,
    world::World,
};

/// A rule, its words and its check stand in one row: none can be without the others.
macro_rules! rules {
    ($($(#[doc = $sentence:literal])+ $rule:ident: $quote:literal => $check:path;)+) => {
        /// A rule of plugin.proto that a plugin keeps, in the order in which they are looked at.
        #[derive(
            Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, strum::EnumIter, strum::EnumString, strum::IntoStaticStr,
        )]
        #[strum(serialize_all = "kebab-case")]
        #[expect(clippy::doc_markdown, reason = "the sentences are told to people as they stand here")]
        pub enum Rule { $($(#[doc = $sentence])+ $rule,)+ }

        impl Rule {
            /// What the rule is, in one sentence.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$rule => concat!($($sentence),+).trim_ascii(),)+ }
            }

            /// The words of plugin.proto that it comes from.
            pub fn quote(self) -> &'static str {
                match self { $(Self::$rule => $quote,)+ }
            }

            pub(crate) fn check(self, world: &World) -> BoxFuture<'_, Checked> {
                match self { $(Self::$rule => $check(world).boxed(),)+ }
            }
        }
    };
}

rules! {
    /// A client without a certificate is refused.
    RefusesNoCertificate: "accepts every client whose certificate was issued by that CA for client authentication, and nobody else" => trust::no_certificate;
    /// A client whose certificate is of another CA is refused.
    RefusesOtherAuthority: "accepts every client whose certificate was issued by that CA for client authentication, and nobody else" => trust::other_authority;
    /// A client whose certificate is for servers only is refused.
    RefusesServerCertificate: "accepts every client whose certificate was issued by that CA for client authentication, and nobody else" => trust::server_certificate;
    /// The port of the protocol answers nothing in plain text.
    RefusesPlainText: "this service, gRPC with mutual TLS" => trust::plain_text;
    /// TLS before 1.2 is refused.
    RefusesOldTls: "TLS is of version 1.2 at least" => trust::old_tls;
    /// ALPN agrees on h2.
    AgreesOnH2: "with ALPN \"h2\"" => trust::alpn;
    /// The certificate that the operator made is the one that is presented.
    PresentsItsCertificate: "A plugin presents the certificate" => trust::certificate;

    /// Health is SERVING for the service "" and for the plugin's.
    HealthServing: "answers grpc.health.v1.Health/Check for the service \"\" and \"kite.plugin.v1.Plugin\"" => health::serving;
    /// The health port has no method of the plugin's service.
    HealthAlone: "No method of this service is on it" => health::alone;
    /// The health port answers no other HTTP request.
    HealthSilent: "It MAY answer HTTP GET /metrics in a format that Prometheus reads. No method of this service is on it, and it says nothing else." => health::silent;

    /// Describe answers in time.
    DescribeAnswers: "MUST answer within 10 seconds" => describe::answers;
    /// Describe answers the same each time.
    DescribeSame: "answers the same for as long as the process runs" => describe::same;
    /// The plugin's name is the one that it was given.
    DescribeName: "The name that the plugin serves under: the value of the environment variable KITE_PLUGIN_NAME" => describe::name;
    /// The plugin's version is a semantic one.
    DescribeVersion: "The plugin's version, by Semantic Versioning 2.0.0." => describe::version;
    /// The protocol's version is 1.
    DescribeProtocol: "The version of this protocol: 1." => describe::protocol;
    /// The definitions are a Definitions of at most 1 MiB.
    DescribeDefinitions: "A serialized `Definitions`, at most 1 MiB." => describe::definitions;

    /// There are at most 64 tools, in the order of their names, none twice.
    ToolsInOrder: "At most 64, in the order of their names, no name twice." => definitions::tools_in_order;
    /// A tool's name is one.
    ToolNames: "A lower-case letter, then lower-case letters, digits and underscores. With \"plugin_<plugin>_\" before it, at most 64 characters." => definitions::tool_names;
    /// A tool's description and title show all that they say.
    ToolTexts: "What the tool does, for people and models: at most 4096 bytes, no control characters but line feed." => definitions::tool_texts;
    /// A tool's schemas are bounded JSON Schemas, that of the arguments of an object.
    ToolSchemas: "JSON Schema (2020-12) of the arguments, an object schema as UTF-8 JSON, at most 64 KiB and 32 levels, with no reference to outside of it." => definitions::tool_schemas;
    /// There are at most 64 resource types, in the order of their names, none twice.
    TypesInOrder: "At most 64, in the order of their names, no name twice." => definitions::types_in_order;
    /// A resource type's name is one.
    TypeNames: "RFC 1123 label in the plural, at most 40 characters" => definitions::type_names;
    /// A resource type's description shows all that it says.
    TypeTexts: "What it is, for people: at most 4096 bytes, no control characters but line feed." => definitions::type_texts;
    /// A resource type's schema, if there is one, is a bounded JSON Schema.
    TypeSchemas: "JSON Schema (2020-12) of its objects, within the limits of Tool.input_schema." => definitions::type_schemas;
    /// A resource type's verbs are known, each once, in order.
    TypeVerbs: "What can be done with its objects; each once, in the order of their numbers." => definitions::type_verbs;
    /// There are at most 4096 files, in the order of their paths, none twice.
    FilesInOrder: "At most 4096, in the order of their paths, no path twice." => definitions::files_in_order;
    /// A file's path is safe.
    FilePaths: "segments of ASCII letters, digits, \".\", \"_\" and \"-\", none of them beginning with \".\", joined by \"/\"; at most 256 bytes" => definitions::file_paths;
    /// A file's digest has 32 bytes.
    FileDigests: "SHA-256 of the content: 32 bytes." => definitions::file_digests;
    /// A file, and all of them together, are of bounded size.
    FileSizes: "In bytes, at most 16 MiB; all files together have at most 64 MiB." => definitions::file_sizes;
    /// A file's media type is one.
    FileMediaTypes: "Media type (RFC 9110, section 8.3.1), at most 128 bytes." => definitions::file_media_types;
    /// There are at most 32 permissions, each of which says what may be done with what.
    Permissions: "What the plugin needs to be granted in order to work, in the words of its plugin.yaml. At most 32." => definitions::permissions;
    /// No JSON object has a key twice, and none is deeper than 32 levels.
    JsonBounds: "JSON has at most 32 levels, and no key twice in one object." => definitions::json_bounds;
    /// What the plugin does not have answers UNIMPLEMENTED.
    AbsentMethods: "The other methods that it does not have answer UNIMPLEMENTED" => definitions::absent_methods;

    /// The head is in the first message, and only there.
    HttpHeadFirst: "The first message of either side has the head; then come pieces of body and last, where there are any, trailers." => http::head_first;
    /// Trailers come with the end.
    HttpTrailersLast: "With `end` only. At most 256." => http::trailers_last;
    /// A piece of a body has at most 64 KiB.
    HttpData: "A piece of the body, at most 64 KiB." => http::data;
    /// A message has at most 128 KiB.
    HttpMessage: "It has at most 128 KiB: 64 KiB of data at most, and 64 KiB of head and trailers together." => http::message;
    /// A head has at most 256 fields and 64 KiB.
    HttpHead: "At most 256, and with the status at most 64 KiB serialized." => http::head;
    /// The names of header fields are such, and lower-case.
    HttpFieldNames: "Lower-case field name (RFC 9110, section 5.1)." => http::field_names;
    /// The values of header fields are such.
    HttpFieldValues: "Field value as it stands on the wire." => http::field_values;
    /// A status is one of 200 to 599.
    HttpStatus: "Final status code, 200 to 599; 101 accepts a WebSocket." => http::status;
    /// There are no interim responses.
    HttpNoInterim: "Interim responses (1xx) are not sent." => http::no_interim;
    /// The data is what Content-Length says.
    HttpContentLength: "The response's data is what Content-Length says, if it is there." => http::content_length;
    /// A response is completed by its end.
    HttpCompletes: "A stream that ends, or breaks, before the message that completes it is a broken call, never a complete one." => http::completes;
    /// Nothing comes after a response's end, and the stream ends with OK.
    HttpEndsOnce: "The response is complete." => http::ends_once;
    /// HEAD is answered as GET is, without data.
    HttpHeadMethod: "To HEAD the head is answered as to GET, without data." => http::head_method;
    /// No response sets cookies, which never arrive.
    HttpNoCookies: "The gateway removes Set-Cookie and hop-by-hop fields" => http::no_cookies;
    /// No response has hop-by-hop fields, which never arrive.
    HttpNoHopByHop: "The gateway removes Set-Cookie and hop-by-hop fields" => http::no_hop_by_hop;
    /// No response redirects to elsewhere.
    HttpLocation: "a Location outside the plugin is 502" => http::location;
    /// A path that is not there is an HTTP response, 404, and no status of gRPC.
    HttpUnknownPath: "of a plugin without routes every path is 404" => http::unknown_path;
    /// A caller is not taken from metadata or from header fields.
    HttpCaller: "a plugin MUST NOT look for a caller in metadata or in HTTP header fields" => http::caller;
    /// A request is read to its end, or the exchange is ended.
    HttpReadsToEnd: "The plugin reads the request to its end, or ends the exchange." => http::reads_to_end;
    /// A request that broke off is not answered as if it were complete.
    HttpBrokenRequest: "A stream that ends, or breaks, before the message that completes it is a broken call, never a complete one." => http::broken_request;
    /// Events come as they are made, on a response that stays open.
    HttpEvents: "Server-sent events are an ordinary response of text/event-stream that stays open; each piece is passed on as it comes." => http::events;

    /// Many calls are taken at once.
    ManyCalls: "a plugin MUST take many at once" => load::many;
    /// Calls that were cancelled make room for others.
    CancelledCalls: "The plugin SHOULD stop what it does for that call at its next opportunity" => load::cancelled;
    /// A call is ended when its time is up.
    Deadline: "a plugin SHOULD stop working for it" => load::deadline;
    /// A stream that is not read holds up no other.
    StalledStream: "A stream that is not read must not hold up the others on its connection" => load::stalled;
    /// A reader that stops stops the writer.
    BackPressure: "So a slow reader slows the writer at the other end of the chain, and memory for one call is bounded whatever its size." => load::back_pressure;
    /// A message of 1.25 MiB is taken.
    LargeMessages: "A plugin takes messages of up to 1.25 MiB" => load::large_message;
    /// An unknown field is passed over.
    UnknownFields: "An unknown field is passed over." => load::unknown_field;
    /// A message without anything in it does no harm.
    EmptyMessage: "the other side MAY refuse what goes beyond them, and MUST NOT take harm from it" => load::empty_message;
    /// A message of garbage does no harm.
    GarbageMessage: "the other side MAY refuse what goes beyond them, and MUST NOT take harm from it" => load::garbage_message;
    /// A message that is too large does no harm.
    OversizeMessage: "the other side MAY refuse what goes beyond them, and MUST NOT take harm from it" => load::oversize_message;

    /// After 101 there are frames and nothing else.
    SocketFrames: "A response of 101 accepts it, and from then on both sides send `frame` and nothing else" => socket::frames_only;
    /// Frames are whole messages within their limits.
    SocketMessages: "At most 64 KiB; of PING, PONG and CLOSE at most 125 bytes (123 of a CLOSE, whose code stands apart). Text is UTF-8 as a whole message; a frame may end within a character." => socket::messages;
    /// A CLOSE is answered by one, which is the last message.
    SocketClose: "Whoever gets a CLOSE answers it with one." => socket::close;
    /// Where no WebSocket is, one is refused by an ordinary response.
    SocketRefused: "Any other status refuses the WebSocket and is an ordinary response." => socket::refused;

    /// Hello is the first message, in time, and comes once.
    ExchangeHello: "The plugin speaks first: ExchangeResponse.hello, within 10 seconds." => exchange::hello;
    /// Hello's numbers are within their ranges.
    ExchangeRanges: "Most bytes of data in one message of either side: 1 KiB to 16 KiB." => exchange::ranges;
    /// Each exchange has exactly one terminal message, and nothing after it.
    ExchangeTerminal: "To each begun id the plugin sends exactly one terminal message" => exchange::terminal;
    /// A reply keeps the rules of Http.
    ExchangeReply: "A part of the reply, in the order and by the rules of Http." => exchange::reply;
    /// A message has at most 64 KiB, and its data at most what Hello says.
    ExchangeMessage: "A message of either side has at most 64 KiB, and its data at most Hello.max_message." => exchange::message;
    /// As many exchanges as Hello says are answered, all at once.
    ExchangeMany: "a queue that is full is answered by Busy, or covered by credit, and never by not reading" => exchange::many;
    /// An exchange that is given up has its terminal message all the same.
    ExchangeCancel: "The plugin sends its terminal message all the same, `cancelled` if it has no other to send." => exchange::cancel;
    /// To give up what is over changes nothing.
    ExchangeLateCancel: "For an id that has had its terminal message it is passed over." => exchange::late_cancel;
    /// No more of a reply is sent than there is credit for.
    ExchangeCredit: "each later one is covered by what was given for its id and not used yet" => exchange::credit;
    /// A host that breaks the rules has its stream ended with INTERNAL.
    ExchangeBreach: "A side that breaks these rules has its stream ended, by the plugin with INTERNAL" => exchange::breach;
    /// When a stream is ended for a breach, the connection goes on.
    ExchangeBreachAlone: "the connection and its other streams go on" => exchange::breach_alone;
    /// When the host ends its side, what was begun is answered, and the stream ends with OK.
    ExchangeEnd: "it begins and says no more, the plugin finishes what was begun and ends the stream with OK" => exchange::end;

    /// An unknown tool is NOT_FOUND.
    ToolUnknown: "NOT_FOUND: no such tool." => tools::unknown;
    /// Arguments that do not fit the schema are INVALID_ARGUMENT.
    ToolArguments: "INVALID_ARGUMENT: the arguments do not fit the tool's input schema" => tools::arguments;
    /// A tool's result is one message, and the last.
    ToolResult: "any number of progress messages, then exactly one result, the last message" => tools::result;
    /// Progress grows from 0 to 1.
    ToolProgress: "From 0 to 1; grows from message to message." => tools::progress;
    /// What is told with progress has at most 1 KiB.
    ToolProgressText: "What is being done, at most 1 KiB." => tools::progress_text;
    /// A tool's message has at most 4 MiB.
    ToolMessage: "Each message has at most 4 MiB." => tools::message;
    /// Structured content fits the tool's output schema.
    ToolStructured: "JSON Schema of ToolResult.structured_content" => tools::structured;
    /// A refusal of a tool has a reason of at most 1 KiB.
    ToolAuthorizer: "Why not, for the caller; at most 1 KiB." => tools::authorizer;

    /// An unknown type is NOT_FOUND.
    TypeUnknown: "NOT_FOUND: there is no such type." => resources::unknown_type;
    /// An object has the name that it was asked for by, and a namespace if its type has them.
    ObjectMetadata: "An object is JSON (UTF-8, at most 1 MiB) with `metadata.name`, and `metadata.namespace` if its type is namespaced." => resources::metadata;
    /// An object that is there already is ALREADY_EXISTS.
    ObjectExists: "there is an object of this name" => resources::exists;
    /// An object that is not there is NOT_FOUND.
    ObjectUnknown: "there is no such tool, type or object" => resources::unknown;
    /// An object that was removed is answered as it was, and is gone.
    ObjectRemoved: "With DELETE: the object as it was." => resources::removed;
    /// A change of an object that was changed meanwhile is ABORTED.
    ObjectStale: "`metadata.resourceVersion`, where the plugin gives one, is what a change must carry, or be refused with ABORTED." => resources::stale;
    /// A merge patch changes what it says.
    ObjectPatch: "JSON Merge Patch, RFC 7396." => resources::patch;
    /// A page has no more objects than were asked for.
    ListLimit: "most objects of the page; 0 leaves it to the plugin, 500 is the most" => resources::limit;
    /// Pages together are the whole, in one order.
    ListPages: "ResourceList is a page of objects, in an order that does not change from page to page." => resources::pages;
    /// What leads to the next page has at most 1 KiB.
    ListContinue: "For the next page; empty after the last. At most 1 KiB." => resources::next_page;
    /// A selector that is none is INVALID_ARGUMENT.
    ListBadSelector: "a label selector of Kubernetes', at most 4 KiB. INVALID_ARGUMENT: it is none." => resources::bad_selector;
    /// A selector selects.
    ListSelector: "With LIST only: a label selector of Kubernetes'" => resources::selector;

    /// A file's pieces together are the bytes whose size and digest were told.
    FileContent: "pieces, which together are exactly the bytes whose size and digest stand there" => files::content;
    /// A piece of a file has at most 64 KiB, and is not empty.
    FilePieces: "At most 64 KiB, and not empty." => files::pieces;
    /// A file that is not there is NOT_FOUND.
    FileUnknown: "NOT_FOUND: there is no such file." => files::unknown;

    /// Settings are answered, and a refusal has a reason of at most 1 KiB.
    Settings: "Why not, for people; at most 1 KiB, without secret values." => hooks::settings;
    /// Settings that come twice are answered the same.
    SettingsTwice: "the same ones may come twice" => hooks::settings_twice;
    /// An event that comes twice is answered twice.
    ClusterEventTwice: "so a plugin MAY be told the same twice" => hooks::cluster_event;
    /// The middleware answers in time.
    InterceptInTime: "MUST answer within the time that stands there" => hooks::intercept_in_time;
    /// The middleware adds no fields that are not its own.
    InterceptFields: "Credentials, hop-by-hop fields and x-kite-* are refused." => hooks::intercept_fields;
    /// What the middleware answers in the plugin's place is within its limits.
    InterceptAnswer: "The whole body, at most 64 KiB." => hooks::intercept_answer;

    /// A status' message has at most 1 KiB.
    StatusMessage: "The message of a status therefore has at most 1 KiB of UTF-8" => bounds::status_message;
    /// The header fields and trailers of gRPC itself have at most 16 KiB.
    ResponseMetadata: "have at most 16 KiB as HTTP/2 counts them" => bounds::metadata;

    /// Renewed certificates are used.
    RenewedCertificates: "A plugin MUST use new ones within 60 seconds, for new connections." => trust::renewed;
    /// Shutdown is answered within its time.
    ShutdownInTime: "It MUST answer within the call's time." => stop::shutdown;
    /// A plugin that was told to stop says so by its health.
    StopHealth: "NOT_SERVING once the plugin was told to stop" => stop::health;
    /// A plugin that was told to stop sends Drain on its exchanges and ends them.
    StopDrain: "sends Drain on each Exchange" => stop::drain;
    /// A plugin that was told to stop takes no new connections.
    StopConnections: "takes no new connections and finishes what is under way" => stop::connections;
    /// A plugin that was told to stop finishes what is under way.
    StopUnderWay: "takes no new connections and finishes what is under way" => stop::under_way;
    /// A plugin that was told to stop ends, and well.
    StopEnds: "It exits when that is done and SIGTERM has come, not before" => stop::ends;
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use strum::IntoEnumIterator as _;

    use super::*;

    const PROTOCOL: &str = include_str!("../../proto/kite/plugin/v1/plugin.proto");

    #[test]
    fn the_words_of_each_rule_stand_in_the_protocol() {
        let comments = PROTOCOL.lines().map(|line| line.trim().trim_start_matches("//"));
        let folded = comments.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
        for rule in Rule::iter() {
            assert!(folded.contains(rule.quote()), "{rule:?}: {:?}", rule.quote());
        }
    }

    #[test]
    fn each_rule_is_one_sentence_with_a_key_of_its_own() {
        let keys: HashSet<&'static str> = Rule::iter().map(Into::into).collect();
        assert_eq!(keys.len(), Rule::iter().count());
        for rule in Rule::iter() {
            let sentence = rule.sentence();
            assert!(sentence.ends_with('.') && !sentence.contains('\n'), "{sentence}");
        }
    }
}
