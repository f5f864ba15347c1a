//! `site deploy`.

use coursegate::site::{self, Deployed, Wanted};

use super::{Ended, complete, count, find_to_change, run, say};
use crate::arguments::SiteCommand;
use crate::terminal;

pub(crate) fn site(command: SiteCommand) -> Ended {
    let SiteCommand::Deploy { place, site, content, client_id, force, delete } = command;
    run(async {
        let deployment = find_to_change(place).await?;
        let Some(cloud) = &deployment.cloud else {
            terminal::print(&format!(
                "Nothing to do: the local stack serves its folders web and content as they are, at \
                 {}.\nTo send them to a deployment in AWS, name it with --stack.",
                deployment.site_origin
            ));
            return Ok(());
        };
        let wanted = Wanted { site, content, client_id, force, delete };
        let tell = &mut |line: String| terminal::print(&complete(&deployment, &line));
        let deployed = site::deploy(&deployment, cloud, &wanted, tell).await;
        let deployed = deployed.map_err(|error| complete(&deployment, &say(error)))?;
        let Deployed { sent, unchanged, deleted } = deployed;
        terminal::print(&format!(
            "{} sent, {unchanged} unchanged, {deleted} deleted. Visitors see it within seconds.",
            count(sent, "file")
        ));
        let Some(hosted) = &cloud.site.hosted else { return Ok(()) };
        let (url, origin) = (&hosted.url, &deployment.site_origin);
        if url == origin {
            terminal::print(&format!("The site is at {url}."));
        } else {
            terminal::print(&format!(
                "CloudFront serves the site at {url}, and learners are sent back to {origin}: \
                 where that does not lead to it, deploy the stack with SiteOrigin={url}, then run \
                 this again."
            ));
        }
        Ok(())
    })
}
