//! Which paths exist and what they take: read from the API's own description, so that it cannot disagree with it.
use std::{collections::HashMap, sync::Arc};

use poem::http::{HeaderValue, Method};
use poem_openapi::{
    OpenApi,
    registry::{MetaSchemaRef, Registry},
};

use super::pointers::Schemas;

/// One path and its methods.
#[derive(Debug)]
pub struct Route {
    template: Arc<str>,
    segments: Vec<Segment>,
    methods: Vec<Method>,
    allow: HeaderValue,
    bodies: Vec<(Method, MetaSchemaRef)>,
}

#[derive(Debug)]
enum Segment {
    Literal(String),
    Parameter,
    Tail,
}

impl Route {
    fn new(template: &str) -> Self {
        let segments = template.split('/').map(|part| match part {
            part if part.starts_with('*') => Segment::Tail,
            part if part.starts_with(['{', ':']) => Segment::Parameter,
            part => Segment::Literal(part.to_owned()),
        });
        Self {
            template: template.into(),
            segments: segments.collect(),
            methods: Vec::new(),
            allow: HeaderValue::from_static(""),
            bodies: Vec::new(),
        }
    }

    /// The path with its parameters in braces, `/v1/files/{id}`.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// The same, to keep.
    pub(super) fn shared_template(&self) -> Arc<str> {
        Arc::clone(&self.template)
    }

    /// Whether the method is served here: HEAD wherever GET is (RFC 9110, section 9.3.2), OPTIONS everywhere.
    pub fn takes(&self, method: &Method) -> bool {
        self.methods.contains(method)
            || method == Method::OPTIONS
            || (method == Method::HEAD && self.methods.contains(&Method::GET))
    }

    /// Whether the route itself names the method.
    pub fn names(&self, method: &Method) -> bool {
        self.methods.contains(method)
    }

    /// The value of `Allow`.
    pub fn allow(&self) -> &HeaderValue {
        &self.allow
    }

    pub(super) fn body(&self, method: &Method) -> Option<&MetaSchemaRef> {
        self.bodies
            .iter()
            .find(|(takes, _)| takes == method)
            .map(|(_, schema)| schema)
    }

    fn add(&mut self, method: Method) {
        if !self.methods.contains(&method) {
            self.methods.push(method);
        }
        const ORDER: [Method; 7] = [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ];
        let allow: Vec<&str> = ORDER
            .iter()
            .filter(|method| self.takes(method))
            .map(Method::as_str)
            .collect();
        self.allow = HeaderValue::from_str(&allow.join(", ")).unwrap_or(HeaderValue::from_static(""));
    }

    fn is_fixed(&self) -> bool {
        self.segments
            .iter()
            .all(|segment| matches!(segment, Segment::Literal(_)))
    }

    fn literals(&self) -> usize {
        self.segments
            .iter()
            .filter(|segment| matches!(segment, Segment::Literal(_)))
            .count()
    }

    fn matches(&self, path: &str) -> bool {
        let mut parts = path.split('/');
        for segment in &self.segments {
            match (segment, parts.next()) {
                (Segment::Tail, Some(_)) => return true,
                (Segment::Literal(literal), Some(part)) if literal == part => {}
                (Segment::Parameter, Some(part)) if !part.is_empty() => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    }
}

/// All paths of a listener.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
    fixed: HashMap<String, usize>,
    /// Those with parameters, the most particular first.
    patterns: Vec<usize>,
    schemas: Schemas,
}

impl RouteTable {
    /// No paths at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds every operation of an API (a tuple of APIs is one too), with the schemas of its JSON bodies.
    #[must_use]
    pub fn api<T: OpenApi>(mut self) -> Self {
        let mut registry = Registry::new();
        T::register(&mut registry);
        self.schemas.add(registry);
        for path in T::meta().into_iter().flat_map(|api| api.paths) {
            for operation in path.operations {
                let mut json = operation.request.into_iter().flat_map(|request| request.content);
                let schema = json.rfind(|media| media.content_type.starts_with("application/json"));
                let route = self.entry(&path.path);
                if let Some(media) = schema {
                    route.bodies.push((operation.method.clone(), media.schema));
                }
                route.add(operation.method);
            }
        }
        self
    }

    /// Adds a path that no API describes. `{name}` or `:name` is one segment, a last `*` is any number of them.
    #[must_use]
    pub fn route(mut self, template: &str, methods: &[Method]) -> Self {
        let route = self.entry(template);
        for method in methods {
            route.add(method.clone());
        }
        self
    }

    /// The route that serves `path`.
    pub fn find(&self, path: &str) -> Option<&Route> {
        let fixed = self.fixed.get(path).copied();
        let index = fixed.or_else(|| {
            self.patterns
                .iter()
                .copied()
                .find(|index| self.routes[*index].matches(path))
        });
        self.routes.get(index?)
    }

    /// The templates of all routes.
    pub fn templates(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(Route::template)
    }

    pub(super) fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    fn entry(&mut self, template: &str) -> &mut Route {
        let known = self.routes.iter().position(|route| *route.template == *template);
        let index = known.unwrap_or_else(|| {
            let index = self.routes.len();
            let route = Route::new(template);
            let fixed = route.is_fixed();
            self.routes.push(route);
            if fixed {
                self.fixed.insert(template.to_owned(), index);
            } else {
                self.patterns.push(index);
                let routes = &self.routes;
                self.patterns
                    .sort_by_key(|index| std::cmp::Reverse(routes[*index].literals()));
            }
            index
        });
        &mut self.routes[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_particular_route_is_found() {
        let table = RouteTable::new()
            .route("/v1/files/{id}", &[Method::GET, Method::DELETE])
            .route("/v1/files/{id}/content", &[Method::GET])
            .route("/v1/events/stream", &[Method::GET])
            .route("/v1/{kind}/stream", &[Method::POST])
            .route("/pages/*", &[Method::GET]);
        let template = |path| table.find(path).map(Route::template);
        assert_eq!(template("/v1/files/7"), Some("/v1/files/{id}"));
        assert_eq!(template("/v1/files/7/content"), Some("/v1/files/{id}/content"));
        assert_eq!(template("/v1/events/stream"), Some("/v1/events/stream"));
        assert_eq!(template("/pages/a/b"), Some("/pages/*"));
        assert_eq!(template("/v1/files/"), None);
        assert_eq!(template("/v1/files/7/more"), None);
        assert_eq!(table.find("/v1/files/7").unwrap().allow(), "GET, HEAD, DELETE, OPTIONS");
    }
}
